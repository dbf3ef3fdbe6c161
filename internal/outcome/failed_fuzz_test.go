package outcome

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// FuzzFailed checks that the result of any error can be displayed, fits into a
// termination message and contains no signature of a URL.
func FuzzFailed(f *testing.F) {
	f.Add("Gated", "ask\x00 <for> access")
	f.Add("", `Get "https://cdn.example.com/a?X-Amz-Signature=abc": EOF`)
	f.Add("Unavailable", "http://h/?x https://h/y?z'w) \xff\u2028")
	f.Add("Internal", strings.Repeat("\"\\\u0001", 1000))
	f.Fuzz(func(t *testing.T, reason, text string) {
		var err error = Errorf(Reason(reason), "%s", text)
		if reason == "" {
			err = errors.New(text)
		}
		r := Failed(err)
		checkText(t, "A failure's message can be shown.", r.Failure.Message)
		if query.MatchString(r.Failure.Message) {
			t.Errorf("%q becomes %q, which has an address with a query", text, r.Failure.Message)
		}
		again, ok := Parse(written(t, r))
		if oneWord.MatchString(string(r.Failure.Reason)) && (!ok || again.Failure == nil || again.Failure.Message != r.Failure.Message) {
			t.Errorf("Failed(%q) = %+v is read as %+v, %t", text, r.Failure, again.Failure, ok)
		}
	})
}

// FuzzFromPods checks that any termination message can be displayed, and that the
// order of the Pods does not matter.
func FuzzFromPods(f *testing.F) {
	f.Add(`{"digest":"`+testDigest+`"}`, `{"failure":{"reason":"Gated","message":"x"}}`, int64(0))
	f.Add("panic: \x00", testDigest, int64(1))
	f.Add(`{"failure":{"reason":"two words","message":"`+strings.Repeat("é", 3000)+`"}}`, "", int64(-1))
	f.Fuzz(func(t *testing.T, one, two string, second int64) {
		second %= 1000
		p, q := pod(ended(1000, one)), pod(ended(1000+second, two))
		p.Name, q.Name = "p", "q"
		r, text, ok := FromPods([]corev1.Pod{p, q})
		checkText(t, "What is no result can be shown.", text)
		if r.Failure != nil {
			checkText(t, "A failure's message can be shown.", r.Failure.Message)
		}
		again, same, also := FromPods([]corev1.Pod{q, p})
		if same != text || also != ok || again.Digest != r.Digest {
			t.Errorf("the order of Pods decides: %+v %q %t, then %+v %q %t", r, text, ok, again, same, also)
		}
	})
}
