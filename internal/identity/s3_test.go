package identity

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/identity"
)

// A recorder records the forms that are sent.
type recorder struct {
	next  http.RoundTripper
	forms []url.Values
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(b))
		if err != nil {
			return nil, err
		}
		r.forms = append(r.forms, form)
		req.Body = io.NopCloser(strings.NewReader(string(b)))
	}
	return r.next.RoundTrip(req)
}

func TestBucketReader(t *testing.T) {
	mine := Bucket{Region: "eu-central-1", Name: "models", Prefix: "team*a/"}
	cases := map[string]struct {
		reason  string
		give    func(w *world)
		bucket  Bucket
		allowed []string // Resources of the session policy; nil for no policy.
		want    outcome.Reason
	}{
		"IRSA":       {reason: "A session reads its prefix alone.", give: (*world).irsa, bucket: mine, allowed: []string{"arn:aws:s3:::models/team${*}a/*", "arn:aws:s3:::models", "arn:aws:s3:::models", "*"}},
		"WholeOne":   {reason: "Or its bucket.", give: (*world).irsa, bucket: Bucket{Region: "eu-central-1", Name: "models"}, allowed: []string{"arn:aws:s3:::models/*", "arn:aws:s3:::models", "arn:aws:s3:::models", "*"}},
		"Long":       {reason: "A policy has a limit, so that a long prefix is left out.", give: (*world).irsa, bucket: Bucket{Region: "eu-central-1", Name: "models", Prefix: strings.Repeat("?", 1000) + "/"}, allowed: []string{"arn:aws:s3:::models/*", "arn:aws:s3:::models", "arn:aws:s3:::models", "*"}},
		"Pod":        {reason: "The agent of EKS narrows nothing.", give: (*world).pod, bucket: mine},
		"NoRegion":   {reason: "A region is one of AWS.", give: (*world).irsa, bucket: Bucket{Region: "auto", Name: "models"}, want: outcome.ConfigInvalid},
		"NoIdentity": {reason: "A Pod may have no identity.", give: func(*world) {}, bucket: mine, want: outcome.ConfigInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.give(w)
			seen := &recorder{next: w.Clouds}
			r, err := NewBucketReader(tc.bucket, ReadEnvironment(func(name string) string { return w.env[name] }), Options{Now: w.time, Transport: seen})
			if tc.want != "" {
				if outcome.ReasonOf(err) != tc.want {
					t.Errorf("\n%s\nNewBucketReader(...): want reason %s, got %v", tc.reason, tc.want, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("\n%s\nNewBucketReader(...): %v", tc.reason, err)
			}
			first, err := r.Credentials(t.Context())
			if err != nil || first.SecretAccessKey == "" || first.SessionToken == "" || !first.CanExpire {
				t.Fatalf("\n%s\nCredentials(...): %v", tc.reason, err)
			}
			if second, err := r.Credentials(t.Context()); err != nil || second != first {
				t.Errorf("\n%s\nCredentials(...): want the same keys again, got %v", tc.reason, err)
			}
			w.pass(fake.Life - time.Minute)
			if third, err := r.Credentials(t.Context()); err != nil || third == first {
				t.Errorf("\n%s\nCredentials(...): want other keys before these end, got %v", tc.reason, err)
			}
			var allowed []string
			if len(seen.forms) > 0 && seen.forms[0].Has("Policy") {
				text := seen.forms[0].Get("Policy")
				var p struct{ Statement []statement }
				if err := json.Unmarshal([]byte(text), &p); err != nil || len(text) > maxSessionPolicy {
					t.Errorf("\n%s\npolicy of %d bytes: %v", tc.reason, len(text), err)
				}
				for _, s := range p.Statement {
					allowed = append(allowed, s.Resource)
				}
			}
			if diff := cmp.Diff(tc.allowed, allowed); diff != "" {
				t.Errorf("\n%s\npolicy: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
