package errors

import (
	"io"
	"testing"

	crossplane "github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// TestWrap checks that errors read as crossplane-runtime's do, and are found in the same way.
func TestWrap(t *testing.T) {
	cases := map[string]struct {
		reason     string
		own, other error
	}{
		"Wrap":  {reason: "A wrapped error should follow its message.", own: Wrap(io.EOF, "cannot read"), other: crossplane.Wrap(io.EOF, "cannot read")},
		"Wrapf": {reason: "The message should be formatted, and the error not.", own: Wrapf(New("100 %d"), "cannot read %d", 1), other: crossplane.Wrapf(crossplane.New("100 %d"), "cannot read %d", 1)},
		"None":  {reason: "No error should stay none.", own: Wrap(nil, "cannot read"), other: crossplane.Wrap(nil, "cannot read")},
		"Nonef": {reason: "No error should stay none.", own: Wrapf(nil, "cannot read %d", 1), other: crossplane.Wrapf(nil, "cannot read %d", 1)},
		"Join":  {reason: "Joined errors should be one line.", own: Join(io.EOF, nil, New("boom")), other: crossplane.Join(io.EOF, nil, crossplane.New("boom"))},
		"Same":  {reason: "A message should not be repeated.", own: Join(io.EOF, io.EOF), other: crossplane.Join(io.EOF, io.EOF)},
		"Two":   {reason: "Each message should be there.", own: Wrap(Errorf("cannot get: %w", io.EOF), "cannot read"), other: crossplane.Wrap(crossplane.Errorf("cannot get: %w", io.EOF), "cannot read")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if (tc.own == nil) != (tc.other == nil) || tc.own != nil && tc.own.Error() != tc.other.Error() {
				t.Errorf("\n%s\nwant %v, got %v", tc.reason, tc.other, tc.own)
			}
			if Is(tc.own, io.EOF) != crossplane.Is(tc.other, io.EOF) {
				t.Errorf("\n%s\nwant io.EOF to be found: %t", tc.reason, crossplane.Is(tc.other, io.EOF))
			}
		})
	}
}
