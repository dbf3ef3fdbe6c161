package connection

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestDraining(t *testing.T) {
	cases := map[string]struct {
		reason  string
		handler http.HandlerFunc
		want    int64 // Connections that ten requests take.
	}{
		"Small": {reason: "A short answer costs no connection.", handler: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, want: 1},
		"Chunked": {reason: "Neither does one that does not say how long it is.", want: 1, handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, strings.Repeat("x", 10_000))
			_ = http.NewResponseController(w).Flush()
			_, _ = fmt.Fprint(w, "y")
		}},
		"Large": {reason: "What is large is not read for nothing.", want: 10, handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000000")
			_, _ = io.WriteString(w, strings.Repeat("x", 1_000_000))
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int64
			server := httptest.NewUnstartedServer(tc.handler)
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)
			client := http.Client{Transport: Draining(NewTransport(nil, NewGuard(strings.TrimPrefix(server.URL, "http://"))))}
			for range 10 {
				closeEarly(t, &client, server.URL)
			}
			if got := connections.Load(); got != tc.want {
				t.Errorf("\n%s\nDraining(...): want %d connections, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

func TestDrainingStalled(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer server.Close()
	defer close(release)
	began := time.Now()
	closeEarly(t, &http.Client{Transport: Draining(NewTransport(nil, NewGuard(strings.TrimPrefix(server.URL, "http://"))))}, server.URL)
	if took := time.Since(began); took > 50*drainTime {
		t.Errorf("Close: want it to wait %s at most for a body that does not end, took %s", drainTime, took)
	}
}

// closeEarly closes an answer's body after its first byte.
func closeEarly(t *testing.T, c *http.Client, u string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = rsp.Body.Read(make([]byte, 1))
	_ = rsp.Body.Close()
}
