package modelpack

import (
	"bytes"
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Verify reads a layer that somebody has stored and returns an error with
// reason Mismatch unless it is the planned one: each byte that is no file's must
// be the planned byte, and the layer must end after its last one. It calls verify
// with each file's bytes, in their order; verify must read them to their end and
// return an error unless they are the file's.
func (p LayerPlan) Verify(stored io.Reader, verify func(f File, content io.Reader) error) error {
	for pieces := p.pieces(); ; {
		piece, err := pieces.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := piece.verify(stored, verify); err != nil {
			return err
		}
	}
	n, err := io.ReadFull(stored, make([]byte, 1))
	switch {
	case n > 0:
		return outcome.Errorf(outcome.Mismatch, "the layer has more than its %d bytes", p.Size)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func (p piece) verify(stored io.Reader, verify func(f File, content io.Reader) error) error {
	in := &io.LimitedReader{R: stored, N: p.size}
	if p.file != nil {
		if err := verify(*p.file, in); err != nil {
			return err
		}
		if in.N > 0 {
			return outcome.Errorf(outcome.Mismatch, "the layer ends before the last %d bytes of the file %q", in.N, outcome.Shorten(p.file.Path))
		}
		return nil
	}
	planned, err := p.open(0, nil)
	if err != nil {
		return err
	}
	return sameBytes(planned, in)
}

// sameBytes returns an error with reason Mismatch unless both readers have the
// same bytes.
func sameBytes(planned, stored io.Reader) error {
	want, got := make([]byte, tarBlockBytes), make([]byte, tarBlockBytes)
	for {
		n, err := io.ReadFull(planned, want)
		if n == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		m, err := io.ReadFull(stored, got[:n])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if !bytes.Equal(want[:n], got[:m]) {
			return outcome.Errorf(outcome.Mismatch, "the layer's archive is not the one that the files are packed in")
		}
	}
}
