package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestProgressServer(t *testing.T) {
	m := &pipeline.Meter{}
	m.Step("copy", 1000)
	m.Skip(310)
	said := `{"step":"copy","percent":31,"bytesDone":310,"bytesTotal":1000}` + "\n"
	cases := map[string]struct {
		reason       string
		method, path string
		status       int
		body         string
	}{
		"Get":     {reason: "The progress should be served.", method: http.MethodGet, path: "/progress", status: http.StatusOK, body: said},
		"Query":   {reason: "A query should be ignored.", method: http.MethodGet, path: "/progress?a=b", status: http.StatusOK, body: said},
		"Post":    {reason: "Writing should be refused.", method: http.MethodPost, path: "/progress", status: http.StatusMethodNotAllowed, body: "Method Not Allowed\n"},
		"Root":    {reason: "Another path should not be found.", method: http.MethodGet, path: "/", status: http.StatusNotFound, body: "404 page not found\n"},
		"Below":   {reason: "A path below should not be found.", method: http.MethodGet, path: "/progress/x", status: http.StatusNotFound, body: "404 page not found\n"},
		"Profile": {reason: "Debug endpoints should not be served.", method: http.MethodGet, path: "/debug/pprof/", status: http.StatusNotFound, body: "404 page not found\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			progressServer(m).Handler.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
			if diff := cmp.Diff(tc.body, w.Body.String()); diff != "" || w.Code != tc.status {
				t.Errorf("\n%s\nServeHTTP(...): -want, +got:\n%s\nstatus: want %d, got %d", tc.reason, diff, tc.status, w.Code)
			}
		})
	}
}

func TestServeProgress(t *testing.T) {
	address := freeAddress(t)
	log := &bytes.Buffer{}
	m := &pipeline.Meter{}
	stop := serveProgress(address, m, log)
	m.Step("copy", 1000)

	// More callers than are served at a time, who say nothing.
	for range maxProgressCallers + 4 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	rsp, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + address + outcome.ProgressPath)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := outcome.ParseProgress(b)
	if diff := cmp.Diff(outcome.Progress{Step: "copy", BytesTotal: 1000}, got); diff != "" || err != nil {
		t.Errorf("The controller should understand what the worker says.\nParseProgress(...): -want, +got:\n%s\nerror: %v", diff, err)
	}

	again := serveProgress(address, m, log)
	again()
	if !strings.Contains(log.String(), "cannot say at "+address+" how far the run is") {
		t.Errorf("Where the port is taken, the log says so, and the run goes on.\nserveProgress(...): got %q", log)
	}
	stop()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("After the run nobody is to be asked.\nserveProgress(...): want nobody to listen")
	}
	serveProgress("", m, nil)()
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
