package supervisor

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

func TestRead(t *testing.T) {
	cases := map[string]struct {
		reason string
		said   string
		steps  []string
		err    string
	}{
		"Ready": {reason: "It reads up to the message that the cluster is up.", said: `{"step":"a"} {"step":"b"} {"ready":true} {"error":"later"}`, steps: []string{"a", "b"}},
		"Error": {reason: "What the supervisor says is the error.", said: `{"step":"a"} {"error":"boom"}`, steps: []string{"a"}, err: "boom"},
		"Died":  {reason: "A supervisor that dies says nothing more.", said: `{"step":"a"}`, steps: []string{"a"}, err: io.ErrUnexpectedEOF.Error()},
		"Bad":   {reason: "What is no message is an error.", said: `panic`, err: "cannot read what the supervisor says"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var steps []string
			err := Read(strings.NewReader(tc.said), func(s string) { steps = append(steps, s) })
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("\n%s\nRead(...): want error %q, got %v", tc.reason, tc.err, err)
			}
			if diff := cmp.Diff(tc.steps, steps); diff != "" {
				t.Errorf("\n%s\nRead(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	if err := Read(strings.NewReader(""), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Read(...): want %v, got %v", io.ErrUnexpectedEOF, err)
	}
}
