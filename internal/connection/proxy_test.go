package connection

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestProxyFromEnvironment(t *testing.T) {
	type want struct {
		Proxy  string
		Reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		env    map[string]string
		url    string
		want   want
	}{
		"None":     {reason: "Without a variable there is no proxy.", url: "https://hub.example.com"},
		"Plain":    {reason: "A URL is taken as it is.", env: map[string]string{"HTTPS_PROXY": "http://proxy:3128"}, url: "https://hub.example.com", want: want{Proxy: "http://proxy:3128"}},
		"Newline":  {reason: "A newline at its end is not part of it.", env: map[string]string{"HTTPS_PROXY": "http://proxy:3128\r\n"}, url: "https://hub.example.com", want: want{Proxy: "http://proxy:3128"}},
		"HostPort": {reason: "A proxy may be written without a scheme.", env: map[string]string{"HTTP_PROXY": "proxy:3128\n"}, url: "http://hub.example.com", want: want{Proxy: "http://proxy:3128"}},
		"NoProxy":  {reason: "So may the hosts that have none.", env: map[string]string{"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "other.test,.example.com\n"}, url: "https://hub.example.com"},
		"Bad":      {reason: "What is no URL is an error that names the variable.", env: map[string]string{"HTTPS_PROXY": "http://ada:hush\nhush@proxy"}, url: "https://hub.example.com", want: want{Reason: outcome.ConfigInvalid}},
		"BadOther": {reason: "One that is not used is none.", env: map[string]string{"HTTPS_PROXY": "http://a\nb"}, url: "http://hub.example.com"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
				t.Setenv(name, tc.env[name])
				t.Setenv(strings.ToLower(name), "")
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			u, err := proxyFromEnvironment()(req)
			got := want{}
			if u != nil {
				got.Proxy = u.String()
			}
			if err != nil {
				got.Reason = outcome.ReasonOf(err)
				if strings.Contains(err.Error(), "hush") {
					t.Errorf("\n%s\nthe error shows the value: %v", tc.reason, err)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nproxyFromEnvironment(): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}
