// Package pull fetches an artifact, a ModelPack or a ModelKit, from a registry
// into a folder, for programs that cannot mount one.
//
// A file gets its name only when its layer has been held against its digest.
// What a pull that was killed has fetched is used again by the next one. What
// the folder holds otherwise is never touched.
package pull

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// Options say what is pulled, and where to.
type Options struct {
	// Reference of the artifact: registry/repository@digest, or :tag.
	Reference string

	// Dir is the folder that gets the files. It is made if it is missing.
	Dir string

	// Parallel is how many layers are fetched side by side; at least one.
	Parallel int

	// PlainHTTP speaks to the registry without TLS.
	PlainHTTP bool

	// DockerConfig is a folder with a config.json, or a .dockerconfigjson as a
	// mounted Secret of type kubernetes.io/dockerconfigjson has it, that holds
	// the registry's credentials. Empty, or without such a file, is anonymous.
	DockerConfig string

	// CAFile has certificate authorities that are trusted for the registry
	// beside the public ones; empty for none.
	CAFile string

	// UserAgent that the registry is told.
	UserAgent string

	// Log gets a line for each layer, and one now and then meanwhile.
	Log io.Writer
}

// A Result says what the folder holds after a pull.
type Result struct {
	// Digest of the artifact's manifest.
	Digest digest.Digest

	// Files is how many files of the artifact there are, and Bytes their size.
	Files int
	Bytes int64
}

// String is one line for the log.
func (r Result) String() string {
	return fmt.Sprintf("%s, %d files, %d bytes", r.Digest, r.Files, r.Bytes)
}

// A Pull is one artifact's way into a folder.
type Pull struct {
	options Options
	log     *log.Logger
	again   retry.Policy
	tick    time.Duration // How often the log tells of progress.
}

// New returns a pull. Nothing happens before it is Run.
func New(o Options) *Pull {
	p := &Pull{options: o, log: log.New(o.Log, "", 0), tick: 15 * time.Second}
	p.again = retry.Policy{Tries: 6, FirstWait: time.Second, MaxWait: 30 * time.Second, MaxRetryAfter: 2 * time.Minute, Logf: p.log.Printf}
	return p
}

// Run pulls the artifact. If it returns no error, the folder holds all of its
// files. Otherwise those that it holds are whole, and another Run goes on where
// this one ended. Two of them in one folder wait for each other.
func (p *Pull) Run(ctx context.Context) (Result, error) {
	ref, err := registry.ParseReference(p.options.Reference)
	if err != nil {
		return Result{}, err
	}
	f, err := openFolder(p.options.Dir)
	if err != nil {
		return Result{}, err
	}
	defer f.close()
	if err := f.lock(ctx, p.log.Printf); err != nil {
		return Result{}, err
	}
	s := f.loadState(p.log.Printf)
	if f.holds(s, ref.Digest) {
		p.log.Printf("%s is here already", ref)
		return s.result(), nil
	}
	client, err := p.client(ref)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	return p.fetch(ctx, &source{Client: client, ref: ref, again: p.again}, f, s)
}

// fetch brings the artifact into the folder.
func (p *Pull) fetch(ctx context.Context, src *source, f *folder, s *state) (Result, error) {
	d, layers, err := src.layers(ctx)
	if err != nil {
		return Result{}, err
	}
	if f.holds(s, d) {
		p.log.Printf("%s is here already", d)
		return s.result(), nil
	}
	j, err := newJob(p, src, f, s, d, layers)
	if err != nil {
		return Result{}, err
	}
	if err := j.run(ctx); err != nil {
		if ctx.Err() != nil {
			return Result{}, outcome.Errorf(outcome.Evicted, "the pull was stopped before its end: run again, it goes on from there").Because(err)
		}
		return Result{}, err
	}
	return s.result(), nil
}

// client returns a client of the reference's registry.
func (p *Pull) client(ref registry.Reference) (*registry.Client, error) {
	credentials, err := dockerConfig(p.options.DockerConfig)
	if err != nil {
		return nil, err
	}
	c, err := registry.New(registry.Options{
		Host: ref.Registry, Repository: ref.Repository, PlainHTTP: p.options.PlainHTTP, DockerConfig: credentials, CAFile: p.options.CAFile,
		UserAgent: p.options.UserAgent, Cures: cures,
		// What may pass is tried again here.
		SingleTry: true,
	})
	return c, errors.Wrap(err, "cannot prepare to ask the registry")
}

// cures are in terms of the worker's flags.
var cures = registry.Cures{
	NoCredentials: "mount a Secret of type kubernetes.io/dockerconfigjson, and name its folder with --docker-config",
	Credentials:   "check the Secret that is mounted at --docker-config",
	Authority:     "give that authority's certificate with --ca-file",
	NoAuthority:   "correct the file that --ca-file names",
	Host:          "correct the reference's registry",
	PlainHTTP:     "add --plain-http if that is meant",
}

// A source is where an artifact is.
type source struct {
	*registry.Client

	ref   registry.Reference
	again retry.Policy
}

// layers returns the digest of the artifact's manifest, and the layers in it.
func (s *source) layers(ctx context.Context) (digest.Digest, []modelpack.Layer, error) {
	var d ocispec.Descriptor
	var manifest []byte
	err := s.again.Do(ctx, s.ref.String(), func() error {
		var err error
		d, manifest, err = s.Manifest(ctx, s.ref.Repository, s.ref.Name())
		return err
	})
	if err != nil {
		return "", nil, err
	}
	if s.ref.Digest != "" && s.ref.Digest.Algorithm().FromBytes(manifest) != s.ref.Digest {
		return "", nil, outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than that of %s", s.ref.Registry, s.ref.Digest)
	}
	config, err := s.config(ctx, manifest)
	if err != nil {
		return "", nil, err
	}
	layers, err := modelpack.ReadManifest(manifest, config)
	if err != nil {
		return "", nil, outcome.Errorf(outcome.ReasonOf(err), "cannot pull %s: %s", s.ref, err).Because(err)
	}
	return d.Digest, layers, nil
}

// config returns the config of a ModelKit, which says where its files belong. It
// is empty for all else.
func (s *source) config(ctx context.Context, manifest []byte) ([]byte, error) {
	d, err := modelpack.Describe(manifest)
	if err != nil || d.Format != modelpack.FormatModelKit {
		return nil, nil // Whoever reads the layers says what is wrong.
	}
	if !d.HasConfig() || d.Config.Digest.Validate() != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "cannot pull %s: its config of %d bytes cannot be read", s.ref, d.Config.Size)
	}
	in := s.ReadBlob(ctx, s.ref.Repository, d.Config, 0, d.Config.Size, s.again)
	defer func() { _ = in.Close() }()
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	if d.Config.Digest.Algorithm().FromBytes(b) != d.Config.Digest {
		return nil, outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s@%s", s.ref.Registry, s.ref.Repository, d.Config.Digest)
	}
	return b, nil
}

// A blob is a stream of a layer's bytes, whose coming it tells.
type blob struct {
	io.ReadCloser

	moved func(n int) // Is told how many bytes came.
}

// open returns a layer's bytes from an offset on. Nothing is asked before they
// are read.
func (s *source) open(ctx context.Context, layer ocispec.Descriptor, offset int64, moved func(n int)) *blob {
	return &blob{ReadCloser: s.ReadBlob(ctx, s.ref.Repository, layer, offset, layer.Size, s.again), moved: moved}
}

// Read ends with io.EOF only at the layer's size.
func (b *blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.moved(n)
	return n, err
}

// dockerConfig reads the credentials in a folder, or nothing where there are
// none.
func dockerConfig(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	for _, name := range []string{"config.json", corev1.DockerConfigJsonKey} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return b, errors.Wrap(err, "cannot read the registry's credentials")
	}
	return nil, nil
}
