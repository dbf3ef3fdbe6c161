package hub

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// waitAsked returns how long an answer asks to wait: Retry-After, else the t of
// RateLimit, which is there in seconds in the form "api";r=0;t=55
// (https://huggingface.co/docs/hub/rate-limits). It is zero where neither
// says.
func waitAsked(h http.Header, now time.Time) time.Duration {
	if d, ok := connection.RetryAfter(h.Get("Retry-After"), now); ok {
		return d
	}
	var longest time.Duration
	for field := range strings.FieldsFuncSeq(h.Get("RateLimit"), func(r rune) bool { return r == ';' || r == ',' }) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(field), "t="); ok {
			d, _ := connection.RetryAfter(v, now)
			longest = max(longest, d)
		}
	}
	return longest
}

// reserve is the share of a quota that is left for downloads of models: if less
// remains, requests that only look up revisions wait for the next window.
const reserve = 0.2

// restAsked returns how long to send no request after an answer of any status: as
// long as it asks for or, if the quota that it reports is nearly used up, until the
// quota's next window.
func restAsked(status int, h http.Header, now time.Time) time.Duration {
	if status == http.StatusTooManyRequests {
		return waitAsked(h, now)
	}
	if d, ok := connection.RetryAfter(h.Get("Retry-After"), now); ok {
		return d
	}
	var longest time.Duration
	for _, l := range limits(h) {
		if float64(l.remaining) <= reserve*float64(l.quota) {
			longest = max(longest, l.renewed)
		}
	}
	return longest
}

// A limit is how many requests of one kind remain.
type limit struct {
	remaining, quota int // The quota is zero where the Hub does not tell.
	renewed          time.Duration
}

// limits reads "api";r=499;t=293 with the quota from the policy's
// "fixed window";"api";q=500;w=300
// (https://huggingface.co/docs/hub/rate-limits).
func limits(h http.Header) []limit {
	var all []limit
	for item := range strings.SplitSeq(strings.Join(h.Values("RateLimit"), ","), ",") {
		remaining, counted := parameter(item, "r")
		renewed, timed := parameter(item, "t")
		if !counted || !timed {
			continue
		}
		l := limit{remaining: remaining, renewed: min(time.Duration(renewed)*time.Second, connection.MaxWait)}
		kind, _, _ := strings.Cut(strings.TrimSpace(item), ";")
		for policy := range strings.SplitSeq(strings.Join(h.Values("RateLimit-Policy"), ","), ",") {
			if strings.Contains(policy, kind) {
				l.quota, _ = parameter(policy, "q")
			}
		}
		all = append(all, l)
	}
	return all
}

// parameter returns the number that an item of a header has by this name.
func parameter(item, name string) (int, bool) {
	for p := range strings.SplitSeq(item, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), name+"="); ok {
			n, err := strconv.ParseUint(v, 10, 31)
			return int(n), err == nil
		}
	}
	return 0, false
}
