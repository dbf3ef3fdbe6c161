package hub

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestRedirectInside has a Hub lead to hosts that only this machine can reach.
func TestRedirectInside(t *testing.T) {
	cases := map[string]struct {
		reason string
		place  string
	}{
		"Metadata": {reason: "A cloud's metadata service gives out credentials.", place: "169.254.169.254"},
		"Private":  {reason: "A private network is none of the Hub's business.", place: "10.0.0.1"},
		"ULA":      {reason: "Nor is one of IPv6.", place: "[fd00::1]"},
	}
	calls := map[string]func(ctx context.Context, c *Client) error{
		"Resolve": func(ctx context.Context, c *Client) error {
			_, err := c.Resolve(ctx, "org/open", "main")
			return err
		},
		"Commit": func(ctx context.Context, c *Client) error {
			_, err := c.Commit(ctx, "org/open", "main", "")
			return err
		},
		"List": func(ctx context.Context, c *Client) error {
			_, err := c.List(ctx, "org/open", sha)
			return err
		},
		"Download": func(ctx context.Context, c *Client) error {
			_, err := c.Download(ctx, "org/open", sha, file.File{Path: "config.json", Size: 10}, 0, 10, download.Options{})
			return err
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+tc.place+"/x", http.StatusFound)
			}))
			t.Cleanup(s.Close)
			for call, ask := range calls {
				err := ask(t.Context(), newClient(t, Options{Endpoint: s.URL}))
				if err == nil || outcome.ReasonOf(err) != outcome.Untrusted || !strings.Contains(err.Error(), strings.Trim(tc.place, "[]")) {
					t.Errorf("\n%s\n%s(...): want the redirect refused by name, got %v", tc.reason, call, err)
				}
			}
		})
	}
}
