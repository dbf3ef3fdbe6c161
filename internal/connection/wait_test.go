package connection

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRetryAfter(t *testing.T) {
	type want struct {
		Wait time.Duration
		OK   bool
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := map[string]struct {
		reason string
		args   string
		want   want
	}{
		"None":     {reason: "Nothing was asked."},
		"Seconds":  {reason: "As most servers write it.", args: "12", want: want{12 * time.Second, true}},
		"Zero":     {reason: "Now is an answer.", args: "0", want: want{0, true}},
		"Spaces":   {reason: "White space around is none of the value.", args: " 12 ", want: want{12 * time.Second, true}},
		"Date":     {reason: "As a date.", args: "Fri, 02 Jan 2026 03:05:05 GMT", want: want{time.Minute, true}},
		"Past":     {reason: "A date gone by is now.", args: "Fri, 02 Jan 2026 03:00:05 GMT", want: want{0, true}},
		"Nonsense": {reason: "What cannot be read asks nothing.", args: "-1 soon"},
		"Forever":  {reason: "No server makes us wait for ever.", args: "2000000000", want: want{time.Hour, true}},
		"FarDate":  {reason: "Not by a date either.", args: "Fri, 02 Jan 2066 03:05:05 GMT", want: want{time.Hour, true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			got.Wait, got.OK = RetryAfter(tc.args, now)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRetryAfter(%q): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}
