package registry

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestOpenBlobAt(t *testing.T) {
	blob := []byte("0123456789")
	d := describe("application/octet-stream", blob)
	noRange := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); next.ServeHTTP(w, r) })
	}
	refused := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	get := func(status int, body string, header ...string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					answer(status, body, header...)(next).ServeHTTP(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	type want struct {
		Bytes  string
		Reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		wrap   func(http.Handler) http.Handler
		blob   ocispec.Descriptor
		offset int64
		want   want
	}{
		"Start":      {reason: "All of it.", blob: d, want: want{Bytes: "0123456789"}},
		"Middle":     {reason: "The rest.", blob: d, offset: 4, want: want{Bytes: "456789"}},
		"End":        {reason: "Nothing is missing.", blob: d, offset: 10},
		"NoRange":    {reason: "The registry sends all, of which the first bytes are dropped.", wrap: noRange, blob: d, offset: 4, want: want{Bytes: "456789"}},
		"Refused":    {reason: "It is asked without a range.", wrap: refused, blob: d, offset: 4, want: want{Bytes: "456789"}},
		"OtherRange": {reason: "The bytes would get to the wrong place.", wrap: get(206, "0123", "Content-Range", "bytes 0-3/10"), blob: d, offset: 4, want: want{Reason: outcome.Unsupported}},
		"NoneNamed":  {reason: "Which bytes these are cannot be told.", wrap: get(206, "456789"), blob: d, offset: 4, want: want{Reason: outcome.Unsupported}},
		"Short":      {reason: "Another try may bring the rest.", wrap: get(206, "45", "Content-Range", "bytes 4-9/10"), blob: d, offset: 4, want: want{Bytes: "45", Reason: outcome.Unavailable}},
		"ShortAll":   {reason: "It ends before the offset.", wrap: get(200, "01"), blob: d, offset: 4, want: want{Reason: outcome.Unavailable}},
		"Long":       {reason: "More cannot be right.", wrap: get(206, "456789abc", "Content-Range", "bytes 4-9/10"), blob: d, offset: 4, want: want{Bytes: "456789a", Reason: outcome.Mismatch}},
		"Missing":    {reason: "It was deleted.", blob: describe("a/b", []byte("x")), want: want{Reason: outcome.NotFound}},
		"BadDigest":  {reason: "It would be another path.", blob: ocispec.Descriptor{Digest: "../../x"}, want: want{Reason: outcome.Unsupported}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, tc.wrap)
			if err := c.PushBlob(t.Context(), repository, d, bytes.NewReader(blob)); err != nil {
				t.Fatal(err)
			}
			got, err := readAt(t, c, tc.blob, tc.offset)
			if got != tc.want.Bytes || reasonOf(err) != tc.want.Reason {
				t.Errorf("\n%s\nOpenBlobAt(...): want %+v, got %q, %v", tc.reason, tc.want, got, err)
			}
		})
	}
}

func readAt(t *testing.T, c *Client, d ocispec.Descriptor, offset int64) (string, error) {
	t.Helper()
	rc, err := c.OpenBlobAt(t.Context(), repository, d, offset)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	return string(b), err
}

func TestCures(t *testing.T) {
	c := serve(t, answer(http.StatusUnauthorized, "", "WWW-Authenticate", `Basic realm="x"`))
	for cure, o := range map[string]Options{"ProviderConfig": {}, "write a letter": {Cures: Cures{NoCredentials: "write a letter"}}} {
		o.Host, o.PlainHTTP = c.host, true
		_, err := newClient(t, o).Resolve(t.Context(), repository, "v1")
		if err == nil || !strings.Contains(err.Error(), cure) {
			t.Errorf("Resolve(...): want %q, got %v", cure, err)
		}
	}
}
