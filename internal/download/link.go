package download

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A link is a URL that a server redirected to, usually signed and valid for a while.
type link struct {
	url   string
	host  string
	until time.Time // Zero if unknown.
}

// linkMargin is how long before its end a link is no longer used.
const linkMargin = 10 * time.Second

// linkOf returns the link that an answer came from, or nil if the server answered
// without a redirect.
func linkOf(rsp *http.Response, now time.Time) *link {
	hop := rsp.Request.Response
	if hop == nil {
		return nil
	}
	l := &link{url: rsp.Request.URL.String(), host: rsp.Request.URL.Host}
	// By the clock of the server that signed the link: this machine's may be wrong.
	made, err := http.ParseTime(hop.Header.Get("Date"))
	if err != nil {
		return l
	}
	if life, ok := lifeOf(rsp.Request.URL.Query(), made); ok && life > 0 {
		l.until = now.Add(life - min(linkMargin, life/4))
	}
	return l
}

// good reports whether a link has not expired, as far as its expiry is known.
func (l *link) good(now time.Time) bool {
	return l.until.IsZero() || now.Before(l.until)
}

// lifeOf returns how long a link with this query is valid after a time, as
// CloudFront and older S3 write it (Expires), S3 and Google Cloud Storage (Date and
// Expires with a prefix), and Azure (se).
func lifeOf(q url.Values, from time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseInt(q.Get("Expires"), 10, 64); err == nil {
		return time.Unix(n, 0).Sub(from), true
	}
	for _, prefix := range []string{"X-Amz-", "X-Goog-"} {
		signed, err := time.Parse("20060102T150405Z", q.Get(prefix+"Date"))
		seconds, nerr := strconv.ParseUint(q.Get(prefix+"Expires"), 10, 31)
		if err == nil && nerr == nil {
			return signed.Add(time.Duration(seconds) * time.Second).Sub(from), true
		}
	}
	if t, err := time.Parse(time.RFC3339, q.Get("se")); err == nil {
		return t.Sub(from), true
	}
	return 0, false
}
