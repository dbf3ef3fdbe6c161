package images

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Parts of a Crossplane package (Crossplane's xpkg specification, and
// crossplane-runtime's pkg/xpkg, which brings half of cosign with it and is
// therefore not used here; a test holds the result against it).
const (
	// xpkgAnnotation marks a layer that is not the program's.
	xpkgAnnotation = "io.crossplane.xpkg"

	// xpkgBase and xpkgExamples are its values for the layer with the package's
	// objects and for the one with examples.
	xpkgBase     = "base"
	xpkgExamples = "upbound"

	// xpkgStream and xpkgExamplesStream are the layers' only files.
	xpkgStream         = "package.yaml"
	xpkgExamplesStream = ".up/examples.yaml"
)

// xpkgName is the package's name in a registry and of its files.
const xpkgName = "provider-kitops"

// XpkgOptions say what the provider's package is like.
type XpkgOptions struct {
	// Version that the provider calls its own, as v1.2.3. It is a tag, too.
	Version string

	// Archs are the architectures, as Go names them; the default is amd64 and
	// arm64.
	Archs []string

	// Root is the folder of the source tree; the default is the working
	// directory.
	Root string

	// programs are other ones than the provider's, for tests.
	programs map[string]string
}

// An Xpkg is the provider as a Crossplane package: its image for each
// architecture, with the package's objects and examples in layers of their own,
// and the index of these images. The same source makes the same package, to the
// byte, in whichever directory it is built.
type Xpkg struct {
	version string
	archs   []string
	images  map[string]v1.Image
	index   v1.ImageIndex
}

// BuildXpkg builds the provider's package.
func BuildXpkg(ctx context.Context, o XpkgOptions) (*Xpkg, error) {
	if o.Version == "" {
		return nil, errors.New("a package needs a version")
	}
	if len(o.Archs) == 0 {
		o.Archs = []string{"amd64", "arm64"}
	}
	objects, err := packageStream(o.Root)
	if err != nil {
		return nil, err
	}
	examples, err := examplesStream(o.Root)
	if err != nil {
		return nil, err
	}
	x := &Xpkg{version: o.Version, archs: o.Archs, images: map[string]v1.Image{}, index: mutate.IndexMediaType(empty.Index, types.OCIImageIndex)}
	for _, arch := range o.Archs {
		image, err := xpkgImage(ctx, o, arch, objects, examples)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot make the package for %s", arch)
		}
		x.images[arch] = image
		x.index = mutate.AppendManifests(x.index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return x, nil
}

// Digest of the index.
func (x *Xpkg) Digest() (string, error) {
	h, err := x.index.Digest()
	return h.String(), errors.Wrap(err, "cannot compute the package's digest")
}

// Write writes an .xpkg file for each architecture into a folder, which it makes,
// and returns their names. `crossplane xpkg push` takes them.
func (x *Xpkg) Write(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errors.Wrap(err, "cannot make a folder for the package")
	}
	tag, err := name.NewTag(xpkgName + ":" + x.version)
	if err != nil {
		return nil, errors.Wrap(err, "cannot use the version as a tag")
	}
	files := make([]string, 0, len(x.archs))
	for _, arch := range x.archs {
		file := filepath.Join(dir, xpkgName+"_linux_"+arch+".xpkg")
		if err := tarball.WriteToFile(file, tag, x.images[arch]); err != nil {
			return nil, errors.Wrap(err, "cannot write the package")
		}
		files = append(files, file)
	}
	return files, nil
}

// xpkgImage builds the package's image for an architecture.
func xpkgImage(ctx context.Context, o XpkgOptions, arch string, objects, examples []byte) (v1.Image, error) {
	runtime := Provider(xpkgName + ":" + o.Version)
	runtime.Arch, runtime.Dir = arch, o.Root
	runtime.LDFlags = "-X github.com/crossplane-contrib/provider-kitops/internal/version.Version=" + o.Version
	if o.programs != nil {
		runtime.Programs = o.programs
	}
	programs, err := buildArchive(ctx, runtime)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	// An .xpkg file has no place for a layer's annotations: there the labels
	// stand for them.
	labels := map[string]string{}
	for _, part := range []struct {
		annotation, file string
		content          []byte
	}{
		{content: programs},
		{annotation: xpkgBase, file: xpkgStream, content: objects},
		{annotation: xpkgExamples, file: xpkgExamplesStream, content: examples},
	} {
		if image, err = appendPart(image, labels, part.annotation, part.file, part.content); err != nil {
			return nil, err
		}
	}
	return configure(image, runtime, labels)
}

// buildArchive builds programs and returns the layer that holds them.
func buildArchive(ctx context.Context, o Options) ([]byte, error) {
	dir, err := os.MkdirTemp("", "xpkg-")
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a directory to build in")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, err := compileAll(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	return archive(files)
}

// appendPart appends a layer: an archive, or where a file is named, an archive
// of that file.
func appendPart(image v1.Image, labels map[string]string, annotation, file string, content []byte) (v1.Image, error) {
	addendum := mutate.Addendum{MediaType: types.OCILayer}
	if file != "" {
		var err error
		if content, err = archiveOf(file, content); err != nil {
			return nil, err
		}
		addendum.Annotations = map[string]string{xpkgAnnotation: annotation}
	}
	layer, err := newLayer(content, types.OCILayer)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a layer")
	}
	if file != "" {
		digest, err := layer.Digest()
		if err != nil {
			return nil, errors.Wrap(err, "cannot compute a layer's digest")
		}
		labels[xpkgAnnotation+":"+digest.String()] = annotation
	}
	addendum.Layer = layer
	image, err = mutate.Append(image, addendum)
	return image, errors.Wrap(err, "cannot append a layer")
}

// archiveOf is an archive with one file that all may read.
func archiveOf(file string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return nil, errors.Wrap(err, "cannot write a layer")
	}
	if _, err := w.Write(content); err != nil {
		return nil, errors.Wrap(err, "cannot write a layer")
	}
	return b.Bytes(), errors.Wrap(w.Close(), "cannot write a layer")
}
