package hub

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A link is a URL, usually signed and good for a while, that the Hub led to.
type link struct {
	url   string
	host  string
	until time.Time // Zero where it is not known.
}

// linkMargin is how long before its end a link is not asked any more.
const linkMargin = 10 * time.Second

// linkOf returns the link that an answer came by, or none where the Hub
// answered by itself.
func linkOf(rsp *http.Response, now time.Time) *link {
	hop := rsp.Request.Response
	if hop == nil {
		return nil
	}
	l := &link{url: rsp.Request.URL.String(), host: rsp.Request.URL.Host}
	// By the clock of who made the link: this machine's may be wrong.
	made, err := http.ParseTime(hop.Header.Get("Date"))
	if err != nil {
		return l
	}
	if life, ok := lifeOf(rsp.Request.URL.Query(), made); ok && life > 0 {
		l.until = now.Add(life - min(linkMargin, life/4))
	}
	return l
}

// good reports whether a link has not come to the end that it is known to have.
func (l *link) good(now time.Time) bool {
	return l.until.IsZero() || now.Before(l.until)
}

// lifeOf returns how long a link with this query is good from a moment on, as
// CloudFront and older S3 say it (Expires), S3 and Google's storage (Date and
// Expires with a prefix), and Azure's (se).
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
