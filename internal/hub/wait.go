package hub

import (
	"net/http"
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
