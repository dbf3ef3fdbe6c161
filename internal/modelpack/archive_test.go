package modelpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// packedAs returns bytes in an encoding.
func packedAs(t testing.TB, e Encoding, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch e {
	case TarGzip:
		w = gzip.NewWriter(&out)
	case TarZstd:
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tarOf returns an archive of entries with their names as content.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(e Encoding, b []byte, image bool) Layer {
	return Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, Encoding: e, image: image}
}

func TestEntries(t *testing.T) {
	long := strings.Repeat("long/", 40) + "name ü.bin"
	good := tarOf(t, tar.Header{Name: "a/", Typeflag: tar.TypeDir}, tar.Header{Name: "a/b c"}, tar.Header{Name: "./d"}, tar.Header{Name: long})
	cases := map[string]struct {
		reason   string
		archive  []byte
		encoding Encoding
		image    bool
		want     []string
		refused  outcome.Reason
	}{
		"Tar":       {reason: "The files of an archive should be found at their offsets.", archive: good, encoding: Tar, want: []string{"a/b c", "d", long}},
		"TarGzip":   {reason: "The files of an archive in gzip should be found.", archive: good, encoding: TarGzip, want: []string{"a/b c", "d", long}},
		"TarZstd":   {reason: "The files of an archive in Zstandard should be found.", archive: good, encoding: TarZstd, want: []string{"a/b c", "d", long}},
		"Image":     {reason: "The files of an image's folder /models should be found.", archive: tarOf(t, tar.Header{Name: "etc/", Typeflag: tar.TypeDir}, tar.Header{Name: "/models/a"}), encoding: Tar, image: true, want: []string{"a"}},
		"NotGzip":   {reason: "A layer that is not what its media type says should be called malformed.", archive: []byte("no archive"), encoding: TarGzip, refused: outcome.Mismatch},
		"Outside":   {reason: "A path outside of the model should be refused.", archive: tarOf(t, tar.Header{Name: "a/../../b"}), encoding: Tar, refused: outcome.Unsupported},
		"HardLink":  {reason: "A link should be refused.", archive: tarOf(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}), encoding: Tar, refused: outcome.Unsupported},
		"OtherFile": {reason: "An image with files that belong to no model should be refused.", archive: tarOf(t, tar.Header{Name: "modelsx/a"}), encoding: Tar, image: true, refused: outcome.Unsupported},
		"Folder":    {reason: "A file with the name of the model's folder should be refused.", archive: tarOf(t, tar.Header{Name: "models"}), encoding: Tar, image: true, refused: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := tc.archive
			if name != "NotGzip" {
				b = packedAs(t, tc.encoding, b)
			}
			l := layerOf(tc.encoding, b, tc.image)
			entries, err := l.Entries(t.Context(), bytes.NewReader(b), func(size int64) bool { return size < 5 })
			if (err != nil) != (tc.refused != "") || err != nil && outcome.ReasonOf(err) != tc.refused {
				t.Fatalf("\n%s\nEntries(...): want reason %q, got %v", tc.reason, tc.refused, err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Path)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nEntries(...): -want, +got:\n%s", tc.reason, diff)
			}
			checkEntries(t, l, b, entries)
		})
	}
}

// checkEntries compares entries with the bytes of their layer.
func checkEntries(t *testing.T, l Layer, b []byte, entries []Entry) {
	t.Helper()
	if len(entries) == 0 {
		return
	}
	rc, err := l.Plain(t.Context(), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	// What follows the last file may be malformed.
	plain, _ := io.ReadAll(rc)
	seen := map[string]bool{}
	for _, e := range entries {
		if clean, err := FilePath(e.Path); err != nil || clean != e.Path || seen[e.Path] {
			t.Errorf("%q is no file's path, or there twice: %v", e.Path, err)
		}
		seen[e.Path] = true
		content := plain[e.Offset : e.Offset+e.Size]
		sum := sha256.Sum256(content)
		if hex.EncodeToString(sum[:]) != e.SHA256 {
			t.Errorf("%q is not at %d", e.Path, e.Offset)
		}
		if e.Content != nil && !bytes.Equal(e.Content, content) {
			t.Errorf("%q was kept as something else", e.Path)
		}
	}
}

func TestEntriesRaw(t *testing.T) {
	l := layerOf(Raw, []byte("content"), false)
	l.Path = "a.bin"
	got, err := l.Entries(t.Context(), strings.NewReader("content"), nil)
	want := []Entry{{Path: "a.bin", Size: 7, SHA256: digest.FromString("content").Encoded(), Head: []byte("content")}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Entries(...): -want, +got:\n%s\n%v", diff, err)
	}
}

// zstdOf returns an archive of zeros that is larger than a window of the supplied
// size, compressed with that window.
func zstdOf(t *testing.T, window int) (Layer, []byte) {
	t.Helper()
	plan, err := planTar(tarStyle{}, "x", File{"a.bin", int64(window) + 6<<20})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, plan.Open(0, func(File, int64) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil })); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l := layerOf(TarZstd, b.Bytes(), false)
	l.Size *= 1000
	return l, b.Bytes()
}

func TestZstdWindow(t *testing.T) {
	_, small := zstdOf(t, 1<<10)
	_, large := zstdOf(t, 2*usualZstdWindow)
	_, largest := zstdOf(t, maxZstdWindow)
	_, tooLarge := zstdOf(t, 2*maxZstdWindow)
	cases := map[string]struct {
		reason string
		layer  []byte
		want   outcome.Reason
	}{
		"Largest":    {reason: "A layer with the largest window that zstd reads by default should be read.", layer: largest},
		"TooLarge":   {reason: "A layer with a larger window should be refused, and not be called malformed.", layer: tooLarge, want: outcome.Unsupported},
		"LargeLater": {reason: "A later frame with a large window should be refused, since memory was acquired for the first frame.", layer: slices.Concat(small, large), want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := layerOf(TarZstd, tc.layer, false)
			l.Size *= 1000
			rc, err := l.Plain(t.Context(), bytes.NewReader(tc.layer))
			if err == nil {
				_, err = io.Copy(io.Discard, rc)
				err = errors.Join(l.malformed(err), rc.Close())
			}
			if err == nil && tc.want != "" || err != nil && outcome.ReasonOf(err) != tc.want {
				t.Errorf("\n%s\nPlain(...): want %q, got %v", tc.reason, tc.want, err)
			}
			if !zstdWindows.TryAcquire(maxZstdWindow) {
				t.Fatalf("\n%s\nthe memory for the window was not released", tc.reason)
			}
			zstdWindows.Release(maxZstdWindow)
		})
	}
}

// TestZstdWindowsTogether checks that the windows of all layers that are read at
// the same time take no more memory together than the largest one.
func TestZstdWindowsTogether(t *testing.T) {
	largest, largestBytes := zstdOf(t, maxZstdWindow)
	usual, usualBytes := zstdOf(t, usualZstdWindow)
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	cases := map[string]struct {
		reason string
		layer  Layer
		bytes  []byte
		want   int
	}{
		"Largest": {reason: "One layer with the largest window should be read at a time.", layer: largest, bytes: largestBytes, want: 1},
		"Usual":   {reason: "Several layers with usual windows should be read side by side.", layer: usual, bytes: usualBytes, want: maxZstdWindow / usualZstdWindow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for n := range tc.want {
				rc, err := tc.layer.Plain(t.Context(), bytes.NewReader(tc.bytes))
				if err != nil {
					t.Fatalf("\n%s\nPlain(...): want %d layers at once, got %d, %v", tc.reason, tc.want, n, err)
				}
				defer func() { _ = rc.Close() }()
			}
			if _, err := tc.layer.Plain(expired, bytes.NewReader(tc.bytes)); !errors.Is(err, context.Canceled) {
				t.Errorf("\n%s\nPlain(...): want one more layer to wait until its context ends, got %v", tc.reason, err)
			}
		})
	}
}

// FuzzEntries checks that each file that is found in any archive is one, and is at
// its offset.
func FuzzEntries(f *testing.F) {
	good := tarOf(f, tar.Header{Name: "models/a"}, tar.Header{Name: "b/", Typeflag: tar.TypeDir}, tar.Header{Name: strings.Repeat("long/", 40) + "c"})
	encodings := []Encoding{Tar, TarGzip, TarZstd}
	for i, e := range encodings {
		f.Add(packedAs(f, e, good), uint8(i))
		f.Add(packedAs(f, e, tarOf(f, tar.Header{Name: "models/a"}, tar.Header{Name: "models/.wh.a"})), uint8(i+3))
	}
	f.Add(tarOf(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		l := layerOf(encodings[int(kind)%len(encodings)], b, kind&4 != 0)
		entries, err := l.Entries(t.Context(), bytes.NewReader(b), func(size int64) bool { return size < 100 })
		if err != nil {
			if reason := outcome.ReasonOf(err); reason != outcome.Unsupported && reason != outcome.Mismatch {
				t.Errorf("want it to be refused, or no archive, got %v", err)
			}
			return
		}
		checkEntries(t, l, b, entries)
	})
}

// TestPlainPadding checks that bytes that belong to no file are bounded, too.
func TestPlainPadding(t *testing.T) {
	bomb := packedAs(t, TarGzip, append(tarOf(t, tar.Header{Name: "a"}), make([]byte, 2*archiveSlackBytes)...))
	l := layerOf(TarGzip, bomb, false)
	plain, err := l.Plain(t.Context(), bytes.NewReader(bomb))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	n, err := io.Copy(io.Discard, plain)
	if limit := archiveSlackBytes + int64(len(bomb))*maxArchiveRatio; n > limit || outcome.ReasonOf(err) != outcome.Unsupported {
		t.Errorf("Plain(...): want at most %d bytes and an error with reason %s, got %d, %v", limit, outcome.Unsupported, n, err)
	}
}
