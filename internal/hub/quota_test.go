package hub

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestQuotaTransport(t *testing.T) {
	const file = "https://hub.example.com/org/model/resolve/main/a"
	cases := map[string]struct {
		reason string
		url    string
		limit  string
		waits  bool
	}{
		"Spent":     {reason: "A window without a request left should be waited for.", url: file, limit: `"resolvers";r=0;t=55`, waits: true},
		"Left":      {reason: "As long as there is a request left, it should be made.", url: file, limit: `"resolvers";r=1;t=55`},
		"None":      {reason: "A Hub that reports no limit should not be waited for.", url: file},
		"Forever":   {reason: "A wait that no run should make is for the next request to refuse.", url: file, limit: `"resolvers";r=0;t=3600`},
		"API":       {reason: "The limit of other requests should not hold those for files.", url: "https://hub.example.com/api/models/org/model", limit: `"api";r=0;t=55`},
		"OtherHost": {reason: "Another host should not hold the Hub's requests.", url: "https://cdn.example.com/resolve/a", limit: `"resolvers";r=0;t=55`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			waits := false
			throttle := &connection.Throttle{Sleep: func(_ context.Context, d time.Duration) error {
				waits = d > 50*time.Second
				return nil
			}}
			quota := &quotaTransport{
				origin: &url.URL{Scheme: "https", Host: "hub.example.com"}, throttle: throttle,
				next: roundTripper(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{"Ratelimit": {tc.limit}}}, nil
				}),
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			rsp, err := quota.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = rsp.Body.Close()
			if err := throttle.Wait(t.Context(), "hub.example.com"); err != nil || waits != tc.waits {
				t.Errorf("\n%s\nwant the next request to wait: %t, got %t, %v", tc.reason, tc.waits, waits, err)
			}
		})
	}
}
