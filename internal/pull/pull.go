// Package pull fetches a ModelPack, a ModelKit or an image of a model from a registry into
// a folder, for programs that cannot mount artifacts.
//
// A file gets its name only after its layer's digest was verified. A pull resumes one
// that was killed, and never touches other files in the folder.
package pull

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

// Options of a pull.
type Options struct {
	// Reference of the artifact: registry/repository@digest, or :tag.
	Reference string

	// Dir is the folder for the files. It is created if it does not exist.
	Dir string

	// Reuse is an older folder of a pull, from which what is unchanged is taken instead of
	// being fetched; empty for none. It is only read.
	Reuse string

	// HardLinks has files of Reuse linked instead of copied. Whoever writes to one of them
	// in either folder then changes both.
	HardLinks bool

	// Parallel is the number of layers, and ranges of large ones, that are fetched
	// concurrently. If it is zero, it follows what is measured during the pull.
	Parallel int

	// PlainHTTP uses HTTP rather than HTTPS for the registry.
	PlainHTTP bool

	// DockerConfig is a folder with the registry's credentials in a config.json, or
	// in a .dockerconfigjson as in a mounted Secret of type
	// kubernetes.io/dockerconfigjson. If it is empty, or the folder has no such
	// file, requests are anonymous.
	DockerConfig string

	// CAFile has certificate authorities that are trusted for the registry in
	// addition to the public ones; empty for none.
	CAFile string

	// Verify says who must have signed the artifact; nil if no signature is required.
	Verify *verify.Options

	// WithSignature leaves the signature of the model's files beside them, which must
	// be there.
	WithSignature bool

	// UserAgent of requests to the registry.
	UserAgent string

	// Log gets a line for each layer, and progress in between.
	Log io.Writer

	// Progress is called with the progress of layers several times a second, and Log gets
	// none; nil for none.
	Progress func(Progress) `json:"-"`
}

// A Result describes the folder after a pull.
type Result struct {
	// Digest of the artifact's manifest.
	Digest digest.Digest

	// Files is the number of the artifact's files, and Bytes their size.
	Files int
	Bytes int64
}

// String returns the result as one line for the log.
func (r Result) String() string {
	return fmt.Sprintf("%s, %d files, %d bytes", r.Digest, r.Files, r.Bytes)
}

// A Pull fetches one artifact into a folder.
type Pull struct {
	options Options
	log     *log.Logger
	retries retry.Policy
	tick    time.Duration // The interval of progress in the log.
	segment int64         // The size of the segments of a large layer.

	// requestTime is how long a layer's next request should take, by the rate of the one
	// before: a fast one asks seldom, since each request costs the registry some work, and
	// a slow one leaves more to others.
	requestTime time.Duration
}

// New returns a pull, which Run starts.
func New(o Options) *Pull {
	p := &Pull{options: o, log: log.New(o.Log, "", 0), tick: 15 * time.Second, segment: segmentBytes, requestTime: time.Second}
	if o.Progress != nil {
		p.tick = layerProgressInterval
	}
	p.retries = retry.Policy{Tries: 6, FirstWait: time.Second, MaxWait: 30 * time.Second, MaxRetryAfter: 2 * time.Minute, Logf: p.log.Printf}
	return p
}

const (
	// MaxParallel is how many layers and ranges are fetched concurrently at most: each has a
	// connection and buffers. startParallel are at first, if that follows what is measured.
	// Over loopback two share the processors best with the registry; where connections are what
	// is slow, there are 4 after a second, and 64 after 5.
	MaxParallel   = 64
	startParallel = 2

	// streamBytes is what one of them takes in buffers at most, in bytes: its own, and one
	// to hash what came before its turn.
	streamBytes = 2 * copyBytes
)

// parallel returns how many layers and ranges are fetched concurrently.
func (p *Pull) parallel() parallel.Options {
	if n := p.options.Parallel; n > 0 {
		return parallel.Options{Min: n, Start: n, Max: n}
	}
	most := int(max(1, min(MaxParallel, memory.Budget(0)/streamBytes)))
	return parallel.Options{Min: 1, Start: min(startParallel, most), Max: most}
}

// Run pulls the artifact. It writes no file of an artifact that is not signed as the
// options demand. If it returns no error, the folder contains all of its files.
// Otherwise the files that it contains are complete, and another Run resumes. Of
// several pulls into one folder, only one runs at a time.
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
	// What is here may have been pulled without verifying who signed it.
	if p.options.Verify == nil && !p.options.WithSignature && f.holds(s, ref.Digest) {
		p.log.Printf("%s is already here", ref)
		return s.result(), nil
	}
	client, err := p.client(ref)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	src := &source{Client: client, ref: ref, retries: p.retries}
	if p.options.Verify != nil {
		if src.verifier, err = verify.New(*p.options.Verify); err != nil {
			return Result{}, err
		}
	}
	return p.fetch(ctx, src, f, s)
}

// fetch fetches the artifact into the folder.
func (p *Pull) fetch(ctx context.Context, src *source, f *folder, s *state) (Result, error) {
	d, layers, err := src.layers(ctx)
	if outcome.ReasonOf(err) == outcome.Unverified {
		// What an earlier pull left in partial form is of no use.
		err = errors.Join(err, f.clean(nil))
	}
	if err != nil {
		return Result{}, err
	}
	if f.holds(s, d) {
		p.log.Printf("%s is already here", d)
		return s.result(), p.sign(ctx, src, f, s, d)
	}
	j, err := newJob(p, src, f, s, d, layers)
	if err != nil {
		return Result{}, err
	}
	if p.options.Reuse != "" {
		j.former = openFormer(p.options.Reuse, p.log.Printf)
		defer j.former.close()
	}
	if err := j.run(ctx); err != nil {
		if ctx.Err() != nil {
			return Result{}, outcome.Errorf(outcome.Evicted, "the pull was stopped before it was complete: run it again, and it resumes").Because(err)
		}
		return Result{}, err
	}
	return s.result(), p.sign(ctx, src, f, s, d)
}

// sign leaves the signature of the files beside them if the options ask for it.
func (p *Pull) sign(ctx context.Context, src *source, f *folder, s *state, d digest.Digest) error {
	if !p.options.WithSignature {
		return nil
	}
	return src.putSignature(ctx, f, s, d)
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
		// Transient errors are retried here.
		SingleTry: true,
	})
	return c, errors.Wrap(err, "cannot create a client of the registry")
}

// cures name the worker's flags.
var cures = registry.Cures{
	NoCredentials: "mount a Secret of type kubernetes.io/dockerconfigjson, and name its folder with --docker-config",
	Credentials:   "check the Secret that is mounted at --docker-config",
	Authority:     "give that authority's certificate with --ca-file",
	NoAuthority:   "correct the file that --ca-file names",
	Host:          "correct the reference's registry",
	PlainHTTP:     "add --plain-http if that is meant",
}

// A source is the artifact's registry and reference.
type source struct {
	*registry.Client

	ref      registry.Reference
	retries  retry.Policy
	verifier *verify.Verifier // Nil if no signature is required.
	whole    atomic.Bool      // Whether the registry was seen to send no ranges of blobs.
}

// layers returns the digest of the artifact's manifest, and its layers.
func (s *source) layers(ctx context.Context) (digest.Digest, []modelpack.Layer, error) {
	d, manifest, err := retried{s}.Manifest(ctx, s.ref.Repository, s.ref.Name())
	if err != nil {
		return "", nil, err
	}
	if s.ref.Digest != "" && s.ref.Digest.Algorithm().FromBytes(manifest) != s.ref.Digest {
		return "", nil, outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than that of %s", s.ref.Registry, s.ref.Digest)
	}
	if err := s.verify(ctx, d.Digest); err != nil {
		return "", nil, err
	}
	all, err := modelpack.ReadManifests(ctx, retried{s}, s.ref.Repository, manifest)
	if err != nil {
		return "", nil, outcome.Errorf(outcome.ReasonOf(err), "cannot pull %s: %s", s.ref, err).Because(err)
	}
	config, err := s.config(ctx, all.Main())
	if err != nil {
		return "", nil, err
	}
	layers, err := modelpack.ReadLayers(all.Main(), config)
	if err != nil {
		return "", nil, outcome.Errorf(outcome.ReasonOf(err), "cannot pull %s: %s", s.ref, err).Because(err)
	}
	return d.Digest, layers, nil
}

// A retried source retries to read manifests.
type retried struct{ *source }

// Manifest implements modelpack.ManifestReader.
func (r retried) Manifest(ctx context.Context, repository, reference string) (d ocispec.Descriptor, manifest []byte, err error) {
	err = r.retries.Do(ctx, r.ref.String(), func() error {
		d, manifest, err = r.source.Manifest(ctx, repository, reference)
		return err
	})
	return d, manifest, err
}

// verify returns an error with reason Unverified unless the manifest's digest is signed
// as the options demand.
func (s *source) verify(ctx context.Context, d digest.Digest) error {
	if s.verifier == nil {
		return nil
	}
	ref := s.ref
	ref.Digest = d
	return s.retries.Do(ctx, ref.String(), func() error { return s.verifier.Verify(ctx, s.Client, ref) })
}

// config returns the config of a ModelKit, which places its files. It is empty for any
// other artifact.
func (s *source) config(ctx context.Context, manifest []byte) ([]byte, error) {
	d, err := modelpack.Describe(manifest)
	if err != nil || d.Format != modelpack.FormatModelKit {
		return nil, nil // Reading the layers returns the error.
	}
	if !d.HasConfig() || d.Config.Digest.Validate() != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "cannot pull %s: its config of %d bytes cannot be read", s.ref, d.Config.Size)
	}
	in := s.ReadBlob(ctx, s.ref.Repository, d.Config, 0, d.Config.Size, s.retries)
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

// dockerConfig returns the credentials in a folder, or nil if there are none.
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
