package outcome

import (
	"regexp"
	"testing"
)

// oneWord matches a condition's reason.
var oneWord = regexp.MustCompile(`^[A-Z][A-Za-z]{0,63}$`)

// FuzzParse checks that a result that was parsed from any message can be displayed
// and written again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", testDigest, "sha256:0\n", `{"digest":"` + testDigest + `","size":1,"files":2}`,
		`{"failure":{"reason":"Gated","message":"ask\u0000 <for> \ud800 access"}}`,
		`{"failure":{"reason":"two words","message":"x"}}`,
		`{"digest":"no digest","failure":{"reason":"Gated","message":"x"}}`,
		`{"digest":"` + testDigest + `","license":"a\nb","revision":"\u001b"}`,
		`{"failure":{"reason":"Gated","message":"x"}}` + "\nGET https://ada:secret@h/?sig=1\n\x1b[31m\u202ered\xff",
		`{"failure":{"reason":"Gated","message":"x"}} trailing`, `{"digest":"` + testDigest + `"}` + "\nline",
		`{"share":{"index":1,"of":3,"part":"` + testDigest + `"}}`, `{"digest":"` + testDigest + `","share":{"index":3,"of":3}}`,
		`{"failure":{}}`, `{"failure":null}`, `null`, `[]`, `"` + testDigest + `"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		r, ok := Parse(message)
		if !ok {
			return
		}
		if r.Failure == nil && !digestPattern.MatchString(r.Digest) && r.Share == nil {
			t.Errorf("A success has the digest %q", r.Digest)
		}
		if s := r.Share; s != nil && (r.Digest != "" || s.Index < 0 || s.Index >= s.Of || s.Of > MaxShares) {
			t.Errorf("There is no such share: %+v", r)
		}
		if r.Failure != nil {
			if !oneWord.MatchString(string(r.Failure.Reason)) {
				t.Errorf("A failure has the reason %q", r.Failure.Reason)
			}
			checkText(t, "A failure's message can be shown.", r.Failure.Message)
			checkTail(t, r.Failure.LogTail)
		}
		again, ok := Parse(written(t, r))
		if !ok {
			t.Errorf("What was read cannot be read again: %+v", r)
		}
		if (again.Failure == nil) != (r.Failure == nil) || again.Digest != r.Digest {
			t.Errorf("What was read is read otherwise: first %+v, then %+v", r, again)
		}
	})
}
