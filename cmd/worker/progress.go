package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

const (
	// progressPatience bounds how long a request takes.
	progressPatience = 3 * time.Second

	// maxProgressCallers bounds how many requests are served at a time. More
	// have to wait, and the run does not.
	maxProgressCallers = 16
)

// serveProgress says at an address how far a run is, until the returned function
// is called. An empty address is none. Where it cannot be listened on, the log
// says so, and the run goes on.
func serveProgress(address string, m *pipeline.Meter, out io.Writer) (stop func()) {
	if address == "" {
		return func() {}
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		_, _ = fmt.Fprintf(out, "cannot say at %s how far the run is: %s\n", address, err)
		return func() {}
	}
	s := progressServer(m)
	go func() { _ = s.Serve(netutil.LimitListener(l, maxProgressCallers)) }()
	return func() { _ = s.Close() }
}

// progressServer answers one question to all who ask.
func progressServer(m *pipeline.Meter) *http.Server {
	mux := http.NewServeMux()
	// HEAD comes along.
	mux.HandleFunc(http.MethodGet+" "+outcome.ProgressPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// Who has gone away need not be told.
		_ = json.NewEncoder(w).Encode(m.Progress())
	})
	s := &http.Server{
		Handler:           mux,
		ReadTimeout:       progressPatience,
		ReadHeaderTimeout: progressPatience,
		WriteTimeout:      progressPatience,
		MaxHeaderBytes:    outcome.MaxProgressBytes,
		// What callers do wrong is not the run's.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.SetKeepAlivesEnabled(false)
	return s
}
