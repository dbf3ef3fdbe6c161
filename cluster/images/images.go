// Package images makes container images of Go programs without a container
// engine: one layer of static binaries, and nothing else. The same programs
// make the same image, to the byte.
//
// There are no CA roots in it: programs that call out import
// golang.org/x/crypto/x509roots/fallback.
package images

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Options say what an image is like.
type Options struct {
	// Name is the image's reference, with a tag.
	Name string
	// Programs are the Go packages to build, by the path in the image that
	// their program gets.
	Programs map[string]string
	// Entrypoint, User and Env (KEY=VALUE) are the image's configuration.
	Entrypoint []string
	User       string
	Env        []string
	// Dir is where the go command runs; the default is the working directory.
	Dir string
	// LDFlags are the linker's flags; -s -w are given in any case.
	LDFlags string
	// Arch is the architecture; the default is this machine's.
	Arch string
}

// Provider is the image of the provider: its controllers and its worker.
func Provider(reference string) Options {
	return Options{
		Name: reference,
		Programs: map[string]string{
			"/usr/local/bin/provider": "github.com/crossplane-contrib/provider-kitops/cmd/provider",
			"/usr/local/bin/worker":   "github.com/crossplane-contrib/provider-kitops/cmd/worker",
		},
		Entrypoint: []string{"/usr/local/bin/provider"},
		User:       "65532",
	}
}

// KitStub is the image of the stand-in for kit, with the user and the path of
// KitOps' own image.
func KitStub(reference string) Options {
	return Options{
		Name:       reference,
		Programs:   map[string]string{"/usr/local/bin/kit": "github.com/crossplane-contrib/provider-kitops/test/fakes/kit"},
		Entrypoint: []string{"/usr/local/bin/kit"},
		User:       "1001",
	}
}

// Build builds the programs and writes the image to file, as a tarball of the
// format of docker save.
func Build(ctx context.Context, file string, o Options) error {
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return errors.Wrap(err, "cannot make a directory to build in")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, err := compileAll(ctx, o, dir)
	if err != nil {
		return err
	}
	return Write(file, o, files)
}

// Write writes an image of files that are there, by their path in the image, to
// file. It does not look at Programs.
func Write(file string, o Options, files map[string]string) error {
	tag, err := name.NewTag(o.Name)
	if err != nil {
		return errors.Wrap(err, "cannot read the image's name")
	}
	image, err := newImage(o, files)
	if err != nil {
		return errors.Wrapf(err, "cannot make the image %s", o.Name)
	}
	return errors.Wrapf(tarball.WriteToFile(file, tag, image), "cannot write the image %s", o.Name)
}

// compileAll builds the programs into dir and returns them by their path in the
// image.
func compileAll(ctx context.Context, o Options, dir string) (map[string]string, error) {
	files := map[string]string{}
	for to, pkg := range o.Programs {
		files[to] = filepath.Join(dir, strings.ReplaceAll(to, "/", "_"))
		if err := compile(ctx, o, files[to], pkg); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// compile builds a static program. Nothing of the machine or of the directory
// that it is built in gets into it.
func compile(ctx context.Context, o Options, output, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.TrimSpace("-s -w -buildid= "+o.LDFlags), "-o", output, pkg)
	cmd.Dir = o.Dir
	// What is shipped is built by the toolchain that go.mod names, for it has
	// fixes of Go's own library that the machine's may lack.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=auto", "GOOS=linux", "GOARCH="+arch(o), "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	out, err := cmd.CombinedOutput()
	return errors.Wrapf(err, "cannot build %s: %s", pkg, strings.TrimSpace(string(out)))
}

// newImage makes the image.
func newImage(o Options, files map[string]string) (v1.Image, error) {
	data, err := archive(files)
	if err != nil {
		return nil, err
	}
	l, err := newLayer(data, types.DockerLayer)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	return configure(image, o, nil)
}

// newLayer makes a layer of a tar archive.
func newLayer(archive []byte, mediaType types.MediaType) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(mediaType), tarball.WithCompressedCaching)
}

// configure gives an image its configuration, and these labels.
func configure(image v1.Image, o Options, labels map[string]string) (v1.Image, error) {
	return mutate.ConfigFile(image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: arch(o),
		RootFS:       rootFS(image),
		Config: v1.Config{
			Entrypoint: o.Entrypoint,
			User:       o.User,
			Env:        append([]string{"PATH=/usr/local/bin"}, o.Env...),
			Labels:     labels,
		},
	})
}

// rootFS is the list of an image's layers, which a new configuration must have.
func rootFS(image v1.Image) v1.RootFS {
	config, err := image.ConfigFile()
	if err != nil {
		return v1.RootFS{}
	}
	return config.RootFS
}

// archive is the layer: the files and the directories that they are in, sorted,
// with no time, owned by root and executable by all.
func archive(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range directories(files) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, errors.Wrap(err, "cannot write a layer")
		}
	}
	for _, to := range sorted(files) {
		data, err := os.ReadFile(files[to])
		if err != nil {
			return nil, errors.Wrap(err, "cannot read a file of a layer")
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(to, "/"), Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, errors.Wrap(err, "cannot write a layer")
		}
		if _, err := w.Write(data); err != nil {
			return nil, errors.Wrap(err, "cannot write a layer")
		}
	}
	return b.Bytes(), errors.Wrap(w.Close(), "cannot write a layer")
}

// directories are all directories above files, outer ones first. /tmp is not
// among them: a Pod with a read-only root mounts what it writes to.
func directories(files map[string]string) []string {
	set := map[string]string{}
	for f := range files {
		for d := path.Dir(path.Clean(f)); d != "/" && d != "."; d = path.Dir(d) {
			set[strings.TrimPrefix(d, "/")+"/"] = ""
		}
	}
	return sorted(set)
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func arch(o Options) string {
	if o.Arch != "" {
		return o.Arch
	}
	return runtime.GOARCH
}
