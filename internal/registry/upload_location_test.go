package registry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	oras "oras.land/oras-go/v2/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestUploadLocation has uploads go on at odd places.
func TestUploadLocation(t *testing.T) {
	t.Parallel()
	storage := &depot{}
	var authorized []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorized = append(authorized, r.Header.Values("Authorization")...)
		storage.ServeHTTP(w, r)
	}))
	t.Cleanup(elsewhere.Close)
	at := func(place string) func(*http.Request) string { return func(*http.Request) string { return place } }
	cases := map[string]struct {
		reason string
		place  func(*http.Request) string
		taker  *depot // Nil for the registry.
		want   outcome.Reason
		query  string // Of the last PUT, before the digest.
	}{
		"Absolute":  {reason: "As most say it.", place: func(r *http.Request) string { return "http://" + r.Host + "/v2/x/blobs/uploads/1" }},
		"Relative":  {reason: "From where the upload began.", place: at("1?a=b"), query: "a=b&"},
		"Query":     {reason: "A query is kept as it is: it may be signed.", place: at("/u?_state=a%2Fb%3D~&b&A=%20+"), query: "_state=a%2Fb%3D~&b&A=%20+&"},
		"Elsewhere": {reason: "Another host, as of a storage, gets no credentials.", place: at(elsewhere.URL + "/u?sig=x"), taker: storage, query: "sig=x&"},
		"Inside":    {reason: "But none inside a network.", place: at("http://10.0.0.1/u"), want: outcome.Untrusted},
		"Metadata":  {reason: "And none that is the machine's.", place: at("http://169.254.169.254/u"), want: outcome.Untrusted},
		"Opaque":    {reason: "And nothing that is no place.", place: at("mailto:x"), want: outcome.Unsupported},
		"User":      {reason: "And no account that is made up.", place: at("http://ada:x@example.com/"), want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := &depot{place: tc.place}
			if tc.taker == nil {
				tc.taker = p
			}
			tc.taker.place = tc.place
			var asked bool
			c := serve(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if asked = r.Header.Get("Authorization") != ""; !asked {
						w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					p.ServeHTTP(w, r)
				})
			})
			c = newClient(t, Options{Host: c.host, PlainHTTP: true, DockerConfig: testregistry.DockerConfig(map[string]testregistry.Entry{c.host: testregistry.EntryFor(ada)})})
			d, content := contentOf(name, large)
			err := c.Upload(t.Context(), repository, d, (&shelf{content: content}).open, soon)
			if reasonOf(err) != tc.want || len(authorized) > 0 {
				t.Fatalf("\n%s\nUpload(...): want %q, got %v; credentials at another host: %v", tc.reason, tc.want, err, authorized)
			}
			if tc.want != "" {
				return
			}
			want := "PUT " + tc.query + "digest=" + url.QueryEscape(d.Digest.String())
			if got := tc.taker.asked[len(tc.taker.asked)-1]; got != want || !bytes.Equal(tc.taker.blob, content) {
				t.Errorf("\n%s\nUpload(...): want %s, got %s", tc.reason, want, got)
			}
		})
	}
}

func TestLocateKeepsTLS(t *testing.T) {
	c := newClient(t, Options{Host: "registry.example.com:443"})
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	asked, err := http.NewRequest(http.MethodPost, s.endpoint(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		place  string
		want   string
		own    bool
	}{
		"Same":      {reason: "The same port in other words is the same place.", place: "https://Registry.example.com/u", want: "https://registry.example.com:443/u", own: true},
		"Port":      {reason: "Another port is another place.", place: "https://registry.example.com:444/u", want: "https://registry.example.com:444/u"},
		"Downgrade": {reason: "Nothing goes without TLS.", place: "http://registry.example.com/u"},
		"Missing":   {reason: "There must be a place."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := &http.Response{Request: asked, Header: http.Header{}}
			if tc.place != "" {
				rsp.Header.Set("Location", tc.place)
			}
			got, own := "", false
			if to, err := s.locate(rsp); err == nil {
				got, own = to.String(), s.isOwn(to)
			}
			if got != tc.want || own != tc.own {
				t.Errorf("\n%s\nlocate(%q): want %q (own: %t), got %q (own: %t)", tc.reason, tc.place, tc.want, tc.own, got, own)
			}
		})
	}
}

func TestTakesWhole(t *testing.T) {
	cases := map[string]bool{
		"ghcr.io": true, "GHCR.io:443": true, "gcr.io": true, "eu.gcr.io": true, "europe-west1-docker.pkg.dev": true,
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com": true, "123456789012.dkr-ecr.us-east-1.on.aws": true,
		"public.ecr.aws": true,
		"docker.io":      false, "quay.io": false, "notgcr.io": false, "ghcr.io.example.com": false, "localhost:5000": false,
		"example.azurecr.io": false,
	}
	for host, want := range cases {
		if got := takesWhole(host); got != want {
			t.Errorf("takesWhole(%q): want %t, got %t", host, want, got)
		}
	}
}
