package registry

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestLeadsInside has a registry lead to hosts that only this machine can reach.
func TestLeadsInside(t *testing.T) {
	d, content := contentOf("inside", large)
	calls := map[string]func(ctx context.Context, c *Client) error{
		"Resolve": func(ctx context.Context, c *Client) error {
			_, err := c.Resolve(ctx, repository, "v1")
			return err
		},
		"Manifest": func(ctx context.Context, c *Client) error {
			_, _, err := c.Manifest(ctx, repository, "v1")
			return err
		},
		"Tags": func(ctx context.Context, c *Client) error {
			_, err := c.Tags(ctx, repository)
			return err
		},
		"Referrers": func(ctx context.Context, c *Client) error {
			_, err := c.Referrers(ctx, repository, d.Digest, "")
			return err
		},
		"OpenBlob": func(ctx context.Context, c *Client) error {
			_, err := c.OpenBlob(ctx, repository, d)
			return err
		},
		"OpenBlobAt": func(ctx context.Context, c *Client) error {
			_, err := c.OpenBlobAt(ctx, repository, d, 1)
			return err
		},
		"PushBlob": func(ctx context.Context, c *Client) error {
			return c.PushBlob(ctx, repository, d, strings.NewReader(string(content)))
		},
		"Upload": func(ctx context.Context, c *Client) error {
			return c.Upload(ctx, repository, d, (&shelf{content: content}).open, soon)
		},
	}
	realm := func(w http.ResponseWriter, place string) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+place+`",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	redirect := func(w http.ResponseWriter, place string) {
		w.Header().Set("Location", place)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	location := func(w http.ResponseWriter, place string) {
		w.Header().Set("Location", place)
		w.WriteHeader(http.StatusAccepted)
	}
	link := func(w http.ResponseWriter, place string) {
		w.Header().Set("Link", "<"+place+`>; rel="next"`)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[],"tags":[]}`)
	}
	cases := map[string]struct {
		reason string
		answer func(w http.ResponseWriter, place string)
		calls  []string
		want   outcome.Reason
	}{
		"Realm":    {reason: "A token's realm.", answer: realm, calls: []string{"Resolve", "Manifest", "Tags", "Referrers", "OpenBlob", "OpenBlobAt", "PushBlob", "Upload"}, want: outcome.Untrusted},
		"Redirect": {reason: "A redirect.", answer: redirect, calls: []string{"Resolve", "Manifest", "Tags", "Referrers", "OpenBlob", "OpenBlobAt", "PushBlob", "Upload"}, want: outcome.Untrusted},
		"Location": {reason: "Where an upload goes on.", answer: location, calls: []string{"Upload"}, want: outcome.Untrusted},
		// oras-go follows these to no other host at all.
		"Small": {reason: "Where the upload of a small blob goes on.", answer: location, calls: []string{"PushBlob"}, want: outcome.Unsupported},
		"Link":  {reason: "The next page of a list.", answer: link, calls: []string{"Tags", "Referrers"}, want: outcome.Unsupported},
	}
	places := []string{"169.254.169.254", "10.0.0.1", "[fd00::1]", "[64:ff9b::a9fe:a9fe]", "[::ffff:10.0.0.1]"}
	for name, tc := range cases {
		for _, call := range tc.calls {
			t.Run(name+call, func(t *testing.T) {
				t.Parallel()
				for _, place := range places {
					c := serve(t, func(http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tc.answer(w, "http://"+place+"/x") })
					})
					err := calls[call](t.Context(), c)
					at := netip.MustParseAddr(strings.Trim(place, "[]")).String()
					named := err != nil && strings.Contains(err.Error(), at) && strings.Contains(err.Error(), "token realm, redirects and upload locations")
					if reasonOf(err) != tc.want || named != (tc.want == outcome.Untrusted) {
						t.Errorf("\n%s\n%s(...) that leads to %s: want it refused, by name and with a cure, got %v", tc.reason, call, place, err)
					}
				}
			})
		}
	}
}

// TestClientCertificateStaysHome has a registry lead to another server that asks
// for a client certificate.
func TestClientCertificateStaysHome(t *testing.T) {
	certificate, key := testregistry.Start(t, testregistry.Options{TLS: true}).ClientCertificate()
	type seen struct{ Registry, Other bool }
	cases := map[string]struct {
		reason string
		lead   func(w http.ResponseWriter, r *http.Request, to string)
	}{
		"Redirect": {reason: "To another host a redirect goes without it.", lead: func(w http.ResponseWriter, r *http.Request, to string) {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}},
		"Realm": {reason: "So does the question for a token.", lead: func(w http.ResponseWriter, _ *http.Request, to string) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+to+`",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var (
				mu  sync.Mutex
				got seen
			)
			start := func(note *bool, h http.HandlerFunc) *httptest.Server {
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					*note = *note || len(r.TLS.PeerCertificates) > 0
					mu.Unlock()
					h(w, r)
				}))
				s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
				s.StartTLS()
				t.Cleanup(s.Close)
				return s
			}
			asked := false
			other := start(&got.Other, func(w http.ResponseWriter, _ *http.Request) {
				asked = true
				w.WriteHeader(http.StatusNotFound)
			})
			own := start(&got.Registry, func(w http.ResponseWriter, r *http.Request) { tc.lead(w, r, other.URL+"/x") })
			c := newClient(t, Options{
				Host: own.Listener.Addr().String(), Certificate: certificate, Key: key,
				CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate().Raw}),
			})
			_, err := c.Resolve(t.Context(), repository, "v1")
			if !asked {
				t.Fatalf("\n%s\nResolve(...): the other server was not asked: %v", tc.reason, err)
			}
			if diff := cmp.Diff(seen{Registry: true}, got); diff != "" {
				t.Errorf("\n%s\nwho saw the certificate: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
