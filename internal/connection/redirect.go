package connection

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// maxRedirects is how many redirects a request follows.
const maxRedirects = 10

// Errors of CheckRedirect.
var (
	ErrTooManyRedirects = errors.New("too many redirects")
	ErrDowngrade        = errors.New("redirect from https to http")
)

// CheckRedirect is an http.Client's that follows a few redirects, and none from https to
// http.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return ErrTooManyRedirects
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return ErrDowngrade
	}
	return nil
}

// Escape returns a part of a URL's path without what a server or proxy could take for
// anything else. Some take a plus for a space, for example.
func Escape(part string) string {
	return strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
}
