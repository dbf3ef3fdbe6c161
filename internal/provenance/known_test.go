package provenance

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestHas(t *testing.T) {
	subject := subjectOf("artifact").Digest
	other := func(m *ocispec.Manifest) { m.Subject.Digest = subjectOf("other").Digest }
	nobodys := func(m *ocispec.Manifest) { m.Annotations = nil }
	cases := map[string]struct {
		reason string
		setup  func(f *fakeReader)
		want   bool
		fails  bool
	}{
		"None":     {reason: "Nobody says anything.", setup: func(*fakeReader) {}},
		"Anybodys": {reason: "It may be whoever's.", setup: func(f *fakeReader) { f.add(manifestOf(t, testRecord(1), nil), nil) }, want: true},
		"Listed":   {reason: "A list is no record.", setup: func(f *fakeReader) { f.list = []ocispec.Descriptor{subjectOf("gone")} }},
		"BadList":  {reason: "It may hold anything.", setup: func(f *fakeReader) { f.list = []ocispec.Descriptor{{Digest: "x"}} }},
		"Others":   {reason: "A record about another artifact is none.", setup: func(f *fakeReader) { f.add(manifestOf(t, testRecord(1), other), nil) }},
		"Nobodys":  {reason: "A record of nobody's is none.", setup: func(f *fakeReader) { f.add(manifestOf(t, testRecord(1), nobodys), nil) }},
		"Later": {reason: "One of several suffices.", setup: func(f *fakeReader) {
			f.add(manifestOf(t, testRecord(1), nobodys), nil)
			f.add(manifestOf(t, testRecord(2), nil), nil)
		}, want: true},
		"Unread": {reason: "What cannot be asked is not known.", setup: func(f *fakeReader) { f.errList = outcome.Errorf(outcome.Unavailable, "no") }, fails: true},
		"ReadFail": {reason: "Nor what cannot be read.", setup: func(f *fakeReader) {
			f.add(manifestOf(t, testRecord(1), nil), nil)
			f.errRead = outcome.Errorf(outcome.Unavailable, "no")
		}, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &fakeReader{}
			tc.setup(f)
			got, err := Has(t.Context(), f, "models/m", subject)
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("\n%s\nHas(...): want %t, got %t, %v", tc.reason, tc.want, got, err)
			}
		})
	}
}
