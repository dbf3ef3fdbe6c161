package modelpack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestOpenAnywhere checks that a layer can be opened at every offset, and that only
// files with content after it are opened.
func TestOpenAnywhere(t *testing.T) {
	f := folder{"a/b": strings.Repeat("x", 700), "a/c": "", "a/d": strings.Repeat("y", 512)}
	p, err := planTar(imageStyle, ocispec.MediaTypeImageLayer, File{"a/b", 700}, File{"a/c", 0}, File{"a/d", 512})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(p.Open(-1, f.open))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(p.Open(0, f.open), whole); err != nil {
		t.Error(err)
	}
	// Two folders' entries, the first file's own, its content and padding, and so
	// on: which files are opened, and where.
	wantOpened := map[int]string{0: "a/b@0 a/d@0", 3 * 512: "a/b@0 a/d@0", 3*512 + 1: "a/b@1 a/d@0", 3*512 + 700: "a/d@0", len(whole) - 1024: "", len(whole): ""}
	for offset := range len(whole) + 2 {
		var opened []string
		got, err := io.ReadAll(p.Open(int64(offset), func(file File, at int64) (io.ReadCloser, error) {
			opened = append(opened, fmt.Sprintf("%s@%d", file.Path, at))
			return f.open(file, at)
		}))
		if err != nil || !bytes.Equal(got, whole[min(offset, len(whole)):]) {
			t.Fatalf("Open(%d): got %d bytes, %v", offset, len(got), err)
		}
		if want, ok := wantOpened[offset]; ok && want != strings.Join(opened, " ") {
			t.Errorf("Open(%d): want opened %q, got %q", offset, want, opened)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	errBoom := errors.New("boom")
	p, err := planTar(kitStyle, mediaTypeKitModel, File{"a", 10})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	source := func(r io.Reader) OpenFunc {
		return func(File, int64) (io.ReadCloser, error) {
			return closer{r, func() error { closed = true; return nil }}, nil
		}
	}
	cases := map[string]struct {
		reason string
		open   OpenFunc
		want   error
		opened bool
	}{
		"Short":  {reason: "An error should be returned if a file is too short, since what follows would be at a wrong offset.", open: source(strings.NewReader("123456789")), want: io.ErrUnexpectedEOF, opened: true},
		"Long":   {reason: "The rest of a file that is too long should not be read.", open: source(strings.NewReader("12345678901")), opened: true},
		"Broken": {reason: "Any error encountered while reading a file should be returned.", open: source(iotest.ErrReader(errBoom)), want: errBoom, opened: true},
		"Closed": {reason: "Any error encountered while opening a file should be returned.", open: func(File, int64) (io.ReadCloser, error) { return nil, errBoom }, want: errBoom},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			closed = false
			r := p.Open(0, tc.open)
			b, err := io.ReadAll(r)
			if !errors.Is(err, tc.want) || (err == nil && int64(len(b)) != p.Size) {
				t.Errorf("\n%s\nRead(...): want %v, got %d bytes, %v", tc.reason, tc.want, len(b), err)
			}
			if err := r.Close(); err != nil || closed != tc.opened {
				t.Errorf("\n%s\nClose(): want the file closed: %t, got %t, %v", tc.reason, tc.opened, closed, err)
			}
			if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, fs.ErrClosed) {
				t.Errorf("\n%s\nRead(...): want no more after Close, got %d, %v", tc.reason, n, err)
			}
		})
	}
}

type closer struct {
	io.Reader

	close func() error
}

func (c closer) Close() error { return c.close() }
