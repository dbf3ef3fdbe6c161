package hub

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

func TestWaitAsked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := map[string]struct {
		reason string
		header http.Header
		want   time.Duration
	}{
		"None":      {reason: "Nothing was asked."},
		"Seconds":   {reason: "Retry-After in seconds.", header: http.Header{"Retry-After": {"12"}}, want: 12 * time.Second},
		"Date":      {reason: "Retry-After as a date.", header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:05:05 GMT"}}, want: time.Minute},
		"Past":      {reason: "A date gone by is now.", header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:00:05 GMT"}}},
		"RateLimit": {reason: "The Hub's own header.", header: http.Header{"Ratelimit": {`"api";r=0;t=55`}}, want: 55 * time.Second},
		"TwoLimits": {reason: "The longer of two.", header: http.Header{"Ratelimit": {`"api";r=0;t=5, "day";r=0;t=70`}}, want: 70 * time.Second},
		"Nonsense":  {reason: "What cannot be read asks nothing.", header: http.Header{"Retry-After": {"soon"}, "Ratelimit": {"t=-1"}}},
		"Forever":   {reason: "No server makes us wait for ever.", header: http.Header{"Retry-After": {"2000000000"}}, want: time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, waitAsked(tc.header, now)); diff != "" {
				t.Errorf("\n%s\nwaitAsked(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRestAsked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	policy := []string{`"fixed window";"api";q=500;w=300`}
	cases := map[string]struct {
		reason string
		status int
		header http.Header
		want   time.Duration
	}{
		"None":       {reason: "Nothing was asked.", status: 200},
		"Plenty":     {reason: "The time to the next window is no wish.", status: 200, header: http.Header{"Ratelimit": {`"api";r=499;t=293`}, "Ratelimit-Policy": policy}},
		"UsedUp":     {reason: "Nothing remains.", status: 304, header: http.Header{"Ratelimit": {`"api";r=0;t=55`}}, want: 55 * time.Second},
		"Reserve":    {reason: "What remains is for others.", status: 200, header: http.Header{"Ratelimit": {`"api";r=100;t=55`}, "Ratelimit-Policy": policy}, want: 55 * time.Second},
		"NoPolicy":   {reason: "Nobody says that one is few.", status: 200, header: http.Header{"Ratelimit": {`"api";r=1;t=55`}}},
		"Other":      {reason: "Another kind's policy says nothing.", status: 200, header: http.Header{"Ratelimit": {`"pages";r=90;t=55`}, "Ratelimit-Policy": policy}},
		"Several":    {reason: "The longest counts.", status: 200, header: http.Header{"Ratelimit": {`"api";r=0;t=5, "day";r=0;t=70`, `"x";r=9;t=99`}}, want: 70 * time.Second},
		"RetryAfter": {reason: "A wish is a wish with any status.", status: 200, header: http.Header{"Retry-After": {"12"}}, want: 12 * time.Second},
		"Date":       {reason: "As a date too.", status: 503, header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:05:05 GMT"}}, want: time.Minute},
		"Limited":    {reason: "What is refused needs no count.", status: 429, header: http.Header{"Ratelimit": {`"api";t=55`}}, want: 55 * time.Second},
		"Forever":    {reason: "No server makes us wait for ever.", status: 200, header: http.Header{"Ratelimit": {`"api";r=0;t=2000000000`}}, want: connection.MaxWait},
		"Nonsense":   {reason: "What cannot be read asks nothing.", status: 200, header: http.Header{"Ratelimit": {`"api";r=-1;t=5`, `r=;t=5`, `r=0;t=x`, `r=0;t=99999999999999999999`}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, restAsked(tc.status, tc.header, now)); diff != "" {
				t.Errorf("\n%s\nrestAsked(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func FuzzRestAsked(f *testing.F) {
	f.Add(200, "12", `"api";r=0;t=55`, `"fixed window";"api";q=500;w=300`)
	f.Add(429, "", "r=1;t=", ";q=1,,")
	f.Fuzz(func(t *testing.T, status int, after, limit, policy string) {
		h := http.Header{"Retry-After": {after}, "Ratelimit": {limit}, "Ratelimit-Policy": {policy}}
		if d := restAsked(status, h, time.Now()); d < 0 || d > connection.MaxWait {
			t.Errorf("restAsked(%d, %q) = %s", status, h, d)
		}
	})
}

func FuzzWaitAsked(f *testing.F) {
	f.Add("12", `"api";r=0;t=55`)
	f.Add("Fri, 02 Jan 2026 03:05:05 GMT", "t=")
	f.Add("99999999999999999999", ";;t=1;t=2,")
	f.Fuzz(func(t *testing.T, after, limit string) {
		d := waitAsked(http.Header{"Retry-After": {after}, "Ratelimit": {limit}}, time.Now())
		if d < 0 || d > connection.MaxWait {
			t.Errorf("waitAsked(%q, %q) = %s", after, limit, d)
		}
	})
}
