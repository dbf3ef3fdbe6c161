package connection

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxWait bounds how long a server's wish is believed.
const MaxWait = time.Hour

// RetryAfter returns how long the value of a header Retry-After asks to wait
// from now, in seconds or as a date (RFC 9110, section 10.2.3): zero to
// MaxWait. It reports whether the value could be read.
func RetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, MaxWait), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), MaxWait), true
	}
	return 0, false
}
