package modelpack

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestZstdWindow checks that an archive with a large window is read, and that one
// with a larger one than is read is not called broken.
func TestZstdWindow(t *testing.T) {
	plan, err := planTar(tarStyle{}, "x", File{"a.bin", maxArchiveWindow + 6<<20})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		window int
		want   outcome.Reason
	}{
		"Large":    {reason: "What zstd reads unless it is told otherwise is read.", window: maxArchiveWindow},
		"TooLarge": {reason: "A larger window takes too much memory.", window: 2 * maxArchiveWindow, want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := plan.Open(0, func(File, int64) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil })
			var z bytes.Buffer
			w, err := zstd.NewWriter(&z, zstd.WithWindowSize(tc.window), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(w, r); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			l := Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(z.Bytes()), Size: int64(z.Len()) * 1000}, Encoding: TarZstd}
			_, err = l.Entries(bytes.NewReader(z.Bytes()), nil)
			if err == nil && tc.want != "" || err != nil && outcome.ReasonOf(err) != tc.want {
				t.Errorf("\n%s\nEntries(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
