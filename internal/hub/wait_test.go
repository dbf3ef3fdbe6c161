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
