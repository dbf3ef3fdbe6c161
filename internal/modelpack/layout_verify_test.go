package modelpack

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

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

// changed returns the bytes with one of them another.
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
