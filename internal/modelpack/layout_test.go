package modelpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// folder is a model's files, by their paths.
type folder map[string]string

func (f folder) files() []File {
	var out []File
	for path, content := range f {
		out = append(out, File{Path: path, Size: int64(len(content))})
	}
	return out
}

// open is an OpenFunc.
func (f folder) open(file File, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(iotest.OneByteReader(strings.NewReader(f[file.Path][offset:]))), nil
}

// pack returns the layout of the files and the bytes of each layer.
func pack(t *testing.T, format Format, f folder) (*Layout, [][]byte) {
	t.Helper()
	l, err := NewLayout(format, f.files())
	if err != nil {
		t.Fatal(err)
	}
	var blobs [][]byte
	for _, p := range l.Layers {
		b, err := io.ReadAll(p.Open(0, f.open))
		if err != nil || int64(len(b)) != p.Size {
			t.Errorf("Open(...): want %d bytes, got %d, %v", p.Size, len(b), err)
		}
		blobs = append(blobs, b)
	}
	return l, blobs
}

func digests(blobs [][]byte) []digest.Digest {
	var out []digest.Digest
	for _, b := range blobs {
		out = append(out, digest.FromBytes(b))
	}
	return out
}

// unpack returns the files in archives, and the mode and owner of each file and
// folder. It checks that a folder precedes its files, as kit requires.
func unpack(t *testing.T, blobs [][]byte) (folder, map[string]string) {
	t.Helper()
	files, modes := folder{}, map[string]string{}
	for _, b := range blobs {
		dirs := map[string]bool{".": true}
		r := tar.NewReader(bytes.NewReader(b))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(h.Name, "/")
			dirs[name] = h.Typeflag == tar.TypeDir
			if parent := name[:max(strings.LastIndex(name, "/"), 0)]; parent != "" && !dirs[parent] {
				t.Errorf("the folder %q is not in the archive before %q", parent, name)
			}
			modes[h.Name] = fmt.Sprintf("%c %o %d:%d %d", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix())
			if h.Typeflag == tar.TypeReg {
				files[name] = string(content)
			}
		}
	}
	return files, modes
}

var longName = "d/" + strings.Repeat("x", 90) + "/" + strings.Repeat("y", 120) + ".json"

// small is a model with all kinds of names and sizes that archives must support.
var small = folder{
	"model.safetensors": "hello", "config.json": "{}", "sub/deep/ä ü.json": "x", "empty.txt": "", longName: "long",
	"sub/w.bin": strings.Repeat("\x00", 1000), "README.md": "# hi", "run.py": "run", "data/a.csv": strings.Repeat("1,2\n", 128),
}

func TestLayoutRoundTrip(t *testing.T) {
	cases := map[string]struct {
		reason string
		format Format
		prefix string
		modes  map[string]string
	}{
		"ModelKit": {
			reason: "Archives should have the owner and modes that kit writes.", format: FormatModelKit,
			modes: map[string]string{"sub/w.bin": "0 644 1000:0 0", "sub": "5 755 1000:0 0", "sub/deep": "5 755 1000:0 0"},
		},
		"Image": {
			reason: "Files should be owned by root and readable by everybody.", format: FormatImage, prefix: "models/",
			modes: map[string]string{"models/sub/w.bin": "0 644 0:0 0", "models/": "5 755 0:0 0", "models/sub/deep/": "5 755 0:0 0"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, blobs := pack(t, tc.format, small)
			got, modes := unpack(t, blobs)
			want := folder{}
			for path, content := range small {
				want[tc.prefix+path] = content
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("\n%s\nfiles: -want, +got:\n%s", tc.reason, diff)
			}
			for path, want := range tc.modes {
				if modes[path] != want {
					t.Errorf("\n%s\n%s: want %q, got %q", tc.reason, path, want, modes[path])
				}
			}
			if len(l.Layers) != len(small) {
				t.Errorf("want a layer a file, got %d", len(l.Layers))
			}
		})
	}
}

func TestModelPackLayout(t *testing.T) {
	l, blobs := pack(t, FormatModelPack, small)
	var layers []ocispec.Descriptor
	for i, p := range l.Layers {
		name := p.Files[0].Path
		d := LayerFor(name, p.Size, digest.FromBytes(blobs[i]))
		if content := small[name]; content == "" {
			d.MediaType = strings.TrimSuffix(d.MediaType, "raw") + "tar"
			d.Annotations[ocispec.AnnotationTitle] = name + ".tar"
			if files, _ := unpack(t, blobs[i:i+1]); p.Raw || len(files) != 1 || files[name] != content {
				t.Errorf("%s: want an archive of it, got one of %v", name, files)
			}
		} else if !p.Raw || string(blobs[i]) != content {
			t.Errorf("%s: want the file as it is", name)
		}
		layers = append(layers, d)
	}
	a, err := l.Artifact(full, digests(blobs))
	if err != nil {
		t.Fatal(err)
	}
	want, err := New(full, layers)
	if diff := cmp.Diff(want, a); diff != "" || err != nil {
		t.Errorf("Artifact(...): -want, +got:\n%s\n%v", diff, err)
	}
}

func TestNewLayout(t *testing.T) {
	many := func(n int, size int64) (out []File) {
		for i := range n {
			out = append(out, File{Path: fmt.Sprintf("data/%05d.json", i), Size: size})
		}
		return out
	}
	type want struct {
		Layers  int
		Largest int64
		Reason  outcome.Reason
	}
	cases := map[string]struct {
		reason string
		format Format
		files  []File
		want   want
	}{
		"Few":       {reason: "Each of a few files should have its own layer.", format: FormatImage, files: many(100, 10), want: want{Layers: 100, Largest: 512*4 + 512 + 1024 - 512}},
		"Many":      {reason: "Small files should share layers, so that the image can be mounted.", format: FormatImage, files: many(2000, 1<<20), want: want{Layers: 32, Largest: 64<<20 + 64*512 + 2*512 + 1024}},
		"Large":     {reason: "Large files should not share layers.", format: FormatImage, files: append(many(163, 4<<30), File{Path: "config.json", Size: 1}, File{Path: "README.md", Size: 1}), want: want{Layers: 164, Largest: 4<<30 + 3*512 + 1024}},
		"TooLarge":  {reason: "A file of eight GiB should get a longer header.", format: FormatImage, files: many(1, 9<<30), want: want{Layers: 1, Largest: 9<<30 + 5*512 + 1024}},
		"VeryMany":  {reason: "Layers should be larger if the image could not be mounted otherwise.", format: FormatImage, files: many(100_000, 1<<20), want: want{Layers: 391, Largest: 256<<20 + 256*512 + 2*512 + 1024}},
		"Shards":    {reason: "Large files should share layers if the image could not be mounted otherwise.", format: FormatImage, files: many(401, 1<<30), want: want{Layers: 101, Largest: 4<<30 + 6*512 + 1024}},
		"TooMany":   {reason: "An error should be returned if no node could mount the image.", format: FormatImage, files: many(401, 1<<30+1), want: want{Reason: outcome.Unsupported}},
		"Whiteout":  {reason: "An error should be returned for a name that removes a file of an image.", format: FormatImage, files: []File{{Path: "a/.wh.b"}}, want: want{Reason: outcome.Unsupported}},
		"ManyKit":   {reason: "A ModelKit, which is unpacked, should have any number of layers.", format: FormatModelKit, files: many(2000, 10), want: want{Layers: 2000, Largest: 4*512 + 512}},
		"KitsOwn":   {reason: "Files that kit overwrites when it unpacks should be omitted.", format: FormatModelKit, files: []File{{Path: "Kitfile"}, {Path: ".kitignore"}, {Path: "a.bin"}, {Path: "a/Kitfile"}}, want: want{Layers: 2, Largest: 4 * 512}},
		"KitDots":   {reason: "An error should be returned for a name that kit takes for a path out of the folder.", format: FormatModelKit, files: []File{{Path: "a..b"}}, want: want{Reason: outcome.Unsupported}},
		"Outside":   {reason: "An error should be returned for a path outside of the model.", format: FormatModelKit, files: []File{{Path: "../a"}}, want: want{Reason: outcome.Unsupported}},
		"Unclean":   {reason: "An error should be returned for a path that is not clean.", format: FormatImage, files: []File{{Path: "a//b"}}, want: want{Reason: outcome.Unsupported}},
		"Negative":  {reason: "An error should be returned for a file of a negative size.", format: FormatImage, files: []File{{Path: "a", Size: -1}}, want: want{Reason: outcome.Unsupported}},
		"NoFormat":  {reason: "An error should be returned for an unknown format.", format: "Zip", files: many(1, 1), want: want{Reason: outcome.Unsupported}},
		"ModelPack": {reason: "Each file should be a raw layer.", format: FormatModelPack, files: many(3, 10), want: want{Layers: 3, Largest: 10}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := NewLayout(tc.format, tc.files)
			if err != nil {
				if got := outcome.ReasonOf(err); got != tc.want.Reason {
					t.Errorf("\n%s\nNewLayout(...): want %q, got %v", tc.reason, tc.want.Reason, err)
				}
				return
			}
			got := want{Layers: len(l.Layers)}
			for _, p := range l.Layers {
				got.Largest = max(got.Largest, p.Size)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nNewLayout(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestArtifactErrors(t *testing.T) {
	for _, format := range []Format{FormatModelPack, FormatModelKit, FormatImage} {
		l, err := NewLayout(format, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Artifact(full, nil); outcome.ReasonOf(err) != outcome.Unsupported {
			t.Errorf("%s of no files: want %s, got %v", format, outcome.Unsupported, err)
		}
		if _, err := l.Artifact(full, []digest.Digest{"x"}); outcome.ReasonOf(err) != outcome.Internal {
			t.Errorf("%s of other layers: want %s, got %v", format, outcome.Internal, err)
		}
	}
}

func TestLayerPlanVerify(t *testing.T) {
	files := folder{"a.bin": string(bytes.Repeat([]byte("a"), 700)), "dir/b.txt": "b"}
	// The places of a byte in the first header, the first content and the padding.
	const inHeader, inContent, inPadding = 100, tarBlockBytes + 10, tarBlockBytes + 710
	cases := map[string]struct {
		reason string
		change func(b []byte) io.Reader
		want   outcome.Reason
	}{
		"Same":      {reason: "The planned layer should be accepted.", change: func(b []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(b)) }},
		"Header":    {reason: "Bytes that belong to no file should be compared.", change: changed(inHeader), want: outcome.Mismatch},
		"Content":   {reason: "The caller's verdict on a file should be returned.", change: changed(inContent), want: outcome.Mismatch},
		"Padding":   {reason: "Padding should be zeros.", change: changed(inPadding), want: outcome.Mismatch},
		"Short":     {reason: "A missing last byte should be found.", change: func(b []byte) io.Reader { return bytes.NewReader(b[:len(b)-1]) }, want: outcome.Mismatch},
		"ShortFile": {reason: "A file that ends early should be found.", change: func(b []byte) io.Reader { return bytes.NewReader(b[:inContent]) }, want: outcome.Mismatch},
		"Long":      {reason: "Bytes after the last one should be found.", change: func(b []byte) io.Reader { return bytes.NewReader(append(slices.Clone(b), 'x')) }, want: outcome.Mismatch},
		"Broken": {reason: "An error of the reader should be returned.", change: func(b []byte) io.Reader {
			return io.MultiReader(bytes.NewReader(b[:inPadding]), iotest.ErrReader(outcome.Errorf(outcome.Unavailable, "down")))
		}, want: outcome.Unavailable},
	}
	for _, format := range []Format{FormatModelKit, FormatImage} {
		l, blobs := pack(t, format, files)
		for name, tc := range cases {
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				got := outcome.Reason("")
				if err := l.Layers[0].Verify(tc.change(slices.Clone(blobs[0])), sameAs(files)); err != nil {
					got = outcome.ReasonOf(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nVerify(...): -want, +got:\n%s", tc.reason, diff)
				}
			})
		}
	}
}

// changed returns the bytes with one of them changed.
func changed(at int) func(b []byte) io.Reader {
	return func(b []byte) io.Reader {
		b[at]++
		return bytes.NewReader(b)
	}
}

// sameAs compares files' contents.
func sameAs(files folder) func(f File, content io.Reader) error {
	return func(f File, content io.Reader) error {
		b, err := io.ReadAll(content)
		if err == nil && string(b) != files[f.Path] {
			err = errors.Wrap(outcome.Errorf(outcome.Mismatch, "other content"), f.Path)
		}
		return err
	}
}
