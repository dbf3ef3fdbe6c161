package hub

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RateLimit answers at most n requests that match in each window of time, as
// https://huggingface.co does (https://huggingface.co/docs/hub/rate-limits): the others
// get 429, and all are told what is left of the window. The first window begins now.
func RateLimit(match Match, n int, window time.Duration) Fault {
	l := &rateLimit{n: n, window: window, start: time.Now()}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(w, r)
				return
			}
			left, wait := l.take(time.Now())
			// Seconds are whole, and the next window has begun when they have passed.
			seconds := int64((wait + time.Second - 1) / time.Second)
			w.Header().Set("RateLimit", fmt.Sprintf(`"resolvers";r=%d;t=%d`, max(left, 0), seconds))
			w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"fixed window";"resolvers";q=%d;w=%d`, n, int64(window/time.Second)))
			if left < 0 {
				w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
				writeError(w, http.StatusTooManyRequests, "", "We had to rate limit your IP. To continue using our service, create a HF account or login to your existing account, and make sure you pass a HF_TOKEN if you're using the API.")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A rateLimit counts the requests of a window.
type rateLimit struct {
	n      int
	window time.Duration

	mu    sync.Mutex
	start time.Time
	taken int
}

// take counts a request, and returns how many more the window has, less than zero if this
// one was too many, and when the next window begins.
func (l *rateLimit) take(now time.Time) (left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if passed := now.Sub(l.start); passed >= l.window {
		l.start, l.taken = l.start.Add(passed.Truncate(l.window)), 0
	}
	l.taken = min(l.taken+1, l.n+1)
	return l.n - l.taken, l.start.Add(l.window).Sub(now)
}
