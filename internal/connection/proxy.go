package connection

import (
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// proxyFromEnvironment returns what http.ProxyFromEnvironment is, but takes the
// variables without white space around them, and returns an error with reason
// ConfigInvalid where one holds no URL: net/http would connect without a proxy.
func proxyFromEnvironment() func(*http.Request) (*url.URL, error) {
	c := httpproxy.FromEnvironment()
	for _, value := range []*string{&c.HTTPProxy, &c.HTTPSProxy, &c.NoProxy} {
		*value = Trimmed(*value)
	}
	proxyOf := c.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		name, value := "HTTP_PROXY", c.HTTPProxy
		if r.URL.Scheme == "https" {
			name, value = "HTTPS_PROXY", c.HTTPSProxy
		}
		if !namesProxy(value) {
			return nil, outcome.Errorf(outcome.ConfigInvalid, "the environment variable %s holds no URL of a proxy: write http://host:port", name)
		}
		return proxyOf(r.URL)
	}
}

// namesProxy reports whether a variable is empty or holds what net/http takes for a
// proxy: a URL, or host:port.
func namesProxy(value string) bool {
	if value == "" {
		return true
	}
	for _, prefix := range []string{"", "http://"} {
		u, err := url.Parse(prefix + value)
		if err == nil && u.Host != "" {
			return true
		}
	}
	return false
}
