package hub

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const weightPath = "/org/open/resolve/main/model.safetensors"

func TestDatasets(t *testing.T) {
	type want struct {
		Status int
		Body   string // A part of it.
	}
	cases := map[string]struct {
		reason string
		path   string
		want   want
	}{
		"Info":    {reason: "A dataset has an API of its own.", path: "/api/datasets/org/data/revision/main", want: want{200, `"id":"org/data","author"`}},
		"Tree":    {reason: "It has files.", path: "/api/datasets/org/data/tree/main?recursive=true", want: want{200, `"path":"a/b.txt"`}},
		"Commits": {reason: "It has commits.", path: "/api/datasets/org/data/commits/main", want: want{200, `"date"`}},
		"File":    {reason: "They are under datasets.", path: "/datasets/org/data/resolve/main/a/b.txt", want: want{200, "content"}},
		"LFS":     {reason: "Large ones come from the CDN.", path: "/datasets/org/data/resolve/main/x.bin", want: want{200, "weight"}},
		"Gated":   {reason: "It may be gated.", path: "/datasets/org/gated/resolve/main/a.txt", want: want{401, "Access to dataset org/gated"}},
		"NoModel": {reason: "It is no model.", path: "/api/models/org/data/revision/main", want: want{401, "error"}},
		"NoSet":   {reason: "Nor is a model a dataset.", path: "/datasets/org/open/resolve/main/config.json", want: want{401, "error"}},
		"NoFile":  {reason: "A file may be missing.", path: "/datasets/org/data/resolve/main/none", want: want{404, "Entry not found"}},
	}
	h, s := newHub(t)
	write(t, h.dir, "datasets/org/data/main/a/b.txt", "content")
	write(t, h.dir, "datasets/org/data/main/x.bin", string(weight))
	write(t, h.dir, "datasets/org/gated/hub.json", `{"gated": "auto"}`)
	write(t, h.dir, "datasets/org/gated/main/a.txt", "a")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := get(t, s.URL+tc.path)
			got := want{Status: a.status, Body: tc.want.Body}
			if diff := cmp.Diff(tc.want, got); diff != "" || !strings.Contains(a.body, tc.want.Body) {
				t.Errorf("\n%s\nGET %s: -want, +got:\n%s\n%s", tc.reason, tc.path, diff, a.body)
			}
		})
	}
}

func TestSetLinks(t *testing.T) {
	h, s := newHub(t)
	first := get(t, s.URL+weightPath).url
	if a := get(t, first); a.status != 200 || h.Links() != 1 {
		t.Errorf("want a link to be good for as many requests as one likes, got %d of %d links", a.status, h.Links())
	}
	h.SetLinks(0, 2)
	second := get(t, s.URL+weightPath).url
	for i, want := range []int{200, 403, 403} {
		if a := get(t, second); a.status != want {
			t.Errorf("want request %d with a link for two to be answered with %d, got %d", i+2, want, a.status)
		}
	}
	if a := get(t, first); a.status != 200 {
		t.Errorf("want an earlier link to stay good, got %d", a.status)
	}
	h.SetLinks(50*time.Millisecond, 0)
	third := get(t, s.URL+weightPath).url
	time.Sleep(60 * time.Millisecond)
	if a := get(t, third); a.status != 403 {
		t.Errorf("want a link's time to end, got %d", a.status)
	}
	h.ExpireLinks()
	if a := get(t, first); a.status != 403 {
		t.Errorf("want all links to end, got %d", a.status)
	}
	if a := get(t, strings.Replace(first, "Id=1", "Id=4", 1)); a.status != 403 {
		t.Errorf("want no link without its signature, got %d", a.status)
	}
}

func TestSent(t *testing.T) {
	h, s := newHub(t)
	get(t, s.URL+weightPath)
	get(t, s.URL+weightPath, "Range", "bytes=0-99")
	get(t, s.URL+"/org/open/resolve/main/config.json")
	get(t, s.URL+"/org/open/resolve/main/none.json")
	get(t, s.URL+"/api/models/org/open/revision/main")
	s.Close()
	if want, got := int64(len(weight)+100+len("{}")), h.Sent(); want != got {
		t.Errorf("want %d bytes of files to be counted, got %d", want, got)
	}
}

func TestFrozenFiles(t *testing.T) {
	h, s := newHub(t, WithFrozenFiles())
	sha := func() string {
		var info modelInfo
		if err := json.Unmarshal([]byte(get(t, s.URL+"/api/models/org/open/revision/main").body), &info); err != nil {
			t.Fatal(err)
		}
		return info.SHA
	}
	before := sha()
	write(t, h.dir, "models/org/open/main/new.json", "{}")
	if got := sha(); got != before {
		t.Errorf("want the commit to stay %s, got %s", before, got)
	}
	if a := get(t, s.URL+"/api/models/org/open/revision/"+before); a.status != 200 {
		t.Errorf("want it by its name too, got %d", a.status)
	}
	if err := os.RemoveAll(filepath.Join(h.dir, "models/org/open")); err != nil {
		t.Fatal(err)
	}
	if a := get(t, s.URL+"/api/models/org/open/revision/main"); a.status != 401 {
		t.Errorf("want a model that is gone to be gone, got %d", a.status)
	}
}

func TestBodyFaults(t *testing.T) {
	type want struct {
		Status int
		Bytes  int
		Broken bool
	}
	cases := map[string]struct {
		reason string
		fault  Fault
		want   want
	}{
		"None":          {reason: "A range is a range.", want: want{Status: 206, Bytes: 1000}},
		"Stall":         {reason: "Nothing more comes until one goes.", fault: Stall(100), want: want{Status: 206, Bytes: 100, Broken: true}},
		"Reset":         {reason: "A connection is reset.", fault: Reset(0), want: want{Status: 206, Broken: true}},
		"WithoutRanges": {reason: "All of it comes.", fault: WithoutRanges(), want: want{Status: 200, Bytes: len(weight)}},
		"OnRange":       {reason: "This range is meant.", fault: Times(1, Both(On("/cdn/"), OnRange(1000)), Status(500, nil)), want: want{Status: 500, Bytes: -1}},
		"OtherRange":    {reason: "Another is meant.", fault: Times(1, OnRange(100), Status(500, nil)), want: want{Status: 206, Bytes: 1000}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, s := newHub(t)
			if tc.fault != nil {
				h.SetFault(Times(1, On("/cdn/"), tc.fault))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+weightPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", "bytes=1000-1999")
			got := want{Broken: true}
			if rsp, err := http.DefaultClient.Do(req); err == nil {
				defer rsp.Body.Close()
				b, err := io.ReadAll(rsp.Body)
				got = want{Status: rsp.StatusCode, Bytes: len(b), Broken: err != nil}
			}
			if tc.want.Bytes < 0 || got.Status == 0 {
				// A reset may come before the header is read.
				got.Bytes, got.Status = tc.want.Bytes, tc.want.Status
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nGET: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHeaderFault(t *testing.T) {
	h, s := newHub(t)
	h.SetFault(Times(10, On("/cdn/"), func(next http.Handler) http.Handler {
		return Header("ETag", "")(Header("Content-Range", "bytes 0-0/1")(next))
	}))
	a := get(t, s.URL+weightPath, "Range", "bytes=1-2")
	if a.status != 206 || a.header.Get("Content-Range") != "bytes 0-0/1" || a.header.Get("ETag") != "" {
		t.Errorf("want other headers, got %d %v", a.status, a.header)
	}
}

// behind serves bytes behind a line.
func behind(t *testing.T, l *Line, body []byte) string {
	t.Helper()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l.Listen(inner), Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestLine(t *testing.T) {
	body := make([]byte, 1<<20)
	cases := map[string]struct {
		reason   string
		line     *Line
		parallel int
		least    time.Duration
	}{
		"Plain":         {reason: "A line may do nothing.", line: &Line{}, parallel: 1},
		"PerConnection": {reason: "One connection has its rate.", line: &Line{PerConnection: 4 << 20}, parallel: 1, least: 200 * time.Millisecond},
		"SideBySide":    {reason: "Each of several has it.", line: &Line{PerConnection: 4 << 20}, parallel: 4, least: 200 * time.Millisecond},
		"Total":         {reason: "All of them share another.", line: &Line{PerConnection: 4 << 20, Total: 4 << 20}, parallel: 2, least: 400 * time.Millisecond},
		"RoundTrip":     {reason: "An answer takes its time.", line: &Line{RoundTrip: 100 * time.Millisecond}, parallel: 2, least: 100 * time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			url := behind(t, tc.line, body)
			start := time.Now()
			var group sync.WaitGroup
			for range tc.parallel {
				group.Go(func() {
					if a := get(t, url); len(a.body) != len(body) {
						t.Errorf("want %d bytes, got %d", len(body), len(a.body))
					}
				})
			}
			group.Wait()
			took := time.Since(start)
			// How long it takes at most is the machine's business.
			if took < tc.least {
				t.Errorf("\n%s\nwant it to take %s at least, took %s", tc.reason, tc.least, took)
			}
			if least := int64(tc.parallel * len(body)); tc.line.Out() < least || tc.line.Out() > least+1000*int64(tc.parallel) || tc.line.In() == 0 {
				t.Errorf("\n%s\nwant %d bytes and some headers to be counted, got %d out and %d in", tc.reason, least, tc.line.Out(), tc.line.In())
			}
		})
	}
}

// What is written to a connection before it is closed arrives.
func TestLineClose(t *testing.T) {
	l := &Line{PerConnection: 1 << 20, RoundTrip: 20 * time.Millisecond}
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := l.Listen(inner)
	defer func() { _ = listener.Close() }()
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = c.Write(make([]byte, 100_000))
			_ = c.Close()
			_ = c.Close()
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("want nothing to be written once it is closed")
			}
		}
	}()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); n != 100_000 || err != nil {
		t.Errorf("want all that was written, got %d, %v", n, err)
	}
}
