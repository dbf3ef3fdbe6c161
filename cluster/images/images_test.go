package images

import (
	"archive/tar"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWrite(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("static binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	type want struct {
		config  v1.Config
		arch    string
		entries []entry
		err     bool
	}
	cases := map[string]struct {
		reason string
		o      Options
		files  map[string]string
		want   want
	}{
		"Programs": {
			reason: "A layer holds the files and the directories above them, sorted, executable by all.",
			o:      Options{Name: "example.org/image:1", Entrypoint: []string{"/usr/local/bin/b"}, User: "65532", Env: []string{"A=1"}, Arch: "arm64"},
			files:  map[string]string{"/usr/local/bin/b": program, "/a": program},
			want: want{
				config: v1.Config{Entrypoint: []string{"/usr/local/bin/b"}, User: "65532", Env: []string{"PATH=/usr/local/bin", "A=1"}},
				arch:   "arm64",
				entries: []entry{
					{"usr/", 0o755}, {"usr/local/", 0o755}, {"usr/local/bin/", 0o755}, {"a", 0o755}, {"usr/local/bin/b", 0o755},
				},
			},
		},
		"ThisMachine": {
			reason: "The architecture is this machine's, where none is named.",
			o:      Options{Name: "xx:1"},
			want:   want{config: v1.Config{Env: []string{"PATH=/usr/local/bin"}}, arch: runtime.GOARCH},
		},
		"BadName":     {reason: "A name that is none is refused.", o: Options{Name: "Not A Name"}, want: want{err: true}},
		"MissingFile": {reason: "A file that is not there is an error.", o: Options{Name: "xx:1"}, files: map[string]string{"/a": program + "-not"}, want: want{err: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			one, two := filepath.Join(t.TempDir(), "one.tar"), filepath.Join(t.TempDir(), "two.tar")
			err := Write(one, tc.o, tc.files)
			if (err != nil) != tc.want.err {
				t.Fatalf("\n%s\nWrite(...): want error %t, got %v", tc.reason, tc.want.err, err)
			}
			if err != nil {
				return
			}
			if err := Write(two, tc.o, tc.files); err != nil {
				t.Fatalf("\n%s\nWrite(...): %v", tc.reason, err)
			}
			if sum(t, one) != sum(t, two) {
				t.Errorf("\n%s\nWrite(...): the same files made different images", tc.reason)
			}
			image, err := tarball.ImageFromPath(one, nil)
			if err != nil {
				t.Fatalf("\n%s\nImageFromPath(...): %v", tc.reason, err)
			}
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatalf("\n%s\nConfigFile(): %v", tc.reason, err)
			}
			got := want{config: config.Config, arch: config.Architecture, entries: entries(t, image)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}, entry{})); diff != "" {
				t.Errorf("\n%s\nWrite(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBuild(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	o := Options{Name: "xx:1", Programs: map[string]string{"/bin/hello": "./testdata/hello"}}
	if err := Build(t.Context(), file, o); err != nil {
		t.Fatalf("Build(...): %v", err)
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]entry{{"bin/", 0o755}, {"bin/hello", 0o755}}, entries(t, image), cmp.AllowUnexported(entry{})); diff != "" {
		t.Errorf("Build(...): -want, +got:\n%s", diff)
	}
	o.Programs = map[string]string{"/x": "./not-there"}
	if err := Build(t.Context(), file, o); err == nil {
		t.Error("Build(...): want an error for a package that is not there")
	}
}

// An entry is what counts of a file in a layer.
type entry struct {
	name string
	mode int64
}

func entries(t *testing.T, image v1.Image) []entry {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("Layers(): want one, got %d, error %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []entry
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h.Name, h.Mode})
	}
}

func sum(t *testing.T, file string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}
