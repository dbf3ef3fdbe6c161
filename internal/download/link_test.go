package download

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLinkOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	// The server's clock is a day ahead.
	server := now.Add(24 * time.Hour)
	date := server.Format(http.TimeFormat)
	cases := map[string]struct {
		reason string
		query  string
		date   string
		want   time.Duration // From now on; zero for no end.
	}{
		"CloudFront": {reason: "An end in seconds.", query: fmt.Sprintf("Expires=%d&Signature=x", server.Add(time.Hour).Unix()), date: date, want: time.Hour - linkMargin},
		"S3":         {reason: "A time and how long.", query: "X-Amz-Date=20260103T030405Z&X-Amz-Expires=3600", date: date, want: time.Hour - linkMargin},
		"Google":     {reason: "The same with another name.", query: "X-Goog-Date=20260103T030405Z&X-Goog-Expires=60", date: date, want: time.Minute - linkMargin},
		"Azure":      {reason: "An end as a date.", query: "se=2026-01-03T04:04:05Z", date: date, want: time.Hour - linkMargin},
		"Short":      {reason: "A short life has a short margin.", query: fmt.Sprintf("Expires=%d", server.Add(4*time.Second).Unix()), date: date, want: 3 * time.Second},
		"Over":       {reason: "What makes no sense says nothing.", query: "Expires=1", date: date},
		"NoDate":     {reason: "Without the server's clock there is no telling.", query: fmt.Sprintf("Expires=%d", server.Add(time.Hour).Unix())},
		"None":       {reason: "A link may not say.", query: "Signature=x", date: date},
		"Nonsense":   {reason: "Or nothing that can be read.", query: "Expires=soon&X-Amz-Date=x&se=y", date: date},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := &url.URL{Scheme: "https", Host: "cdn.example.com", Path: "/f", RawQuery: tc.query}
			hop := &http.Response{Header: http.Header{"Date": {tc.date}}}
			l := linkOf(&http.Response{Request: &http.Request{URL: u, Response: hop}}, now)
			got := time.Duration(0)
			if !l.until.IsZero() {
				got = l.until.Sub(now)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nlinkOf(...): -want, +got:\n%s", tc.reason, diff)
			}
			if !l.good(now) || tc.want > 0 && l.good(now.Add(tc.want)) {
				t.Errorf("\n%s\ngood(...): want it to be good for %s", tc.reason, tc.want)
			}
		})
	}
}

func FuzzLinkOf(f *testing.F) {
	f.Add("Expires=1770000000&Signature=x", "Fri, 02 Jan 2026 03:04:05 GMT")
	f.Add("X-Amz-Date=20260103T030405Z&X-Amz-Expires=3600", "Fri, 02 Jan 2026 03:04:05 GMT")
	f.Add("se=2026-01-03T04:04:05Z", "")
	f.Add("Expires=99999999999999999999&X-Goog-Expires=-1", "x")
	f.Fuzz(func(t *testing.T, query, date string) {
		now := time.Now()
		u := &url.URL{Scheme: "https", Host: "cdn.example.com", RawQuery: query}
		l := linkOf(&http.Response{Request: &http.Request{URL: u, Response: &http.Response{Header: http.Header{"Date": {date}}}}}, now)
		if !l.good(now) {
			t.Errorf("a link with %q at %q is not good from the start", query, date)
		}
	})
}
