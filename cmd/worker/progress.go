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
	// progressPatience limits the time of a request.
	progressPatience = 3 * time.Second

	// maxProgressCallers limits how many requests are served at a time. More have to
	// wait, and do not slow down the run.
	maxProgressCallers = 16
)

// serveProgress serves the progress of a run at an address until the returned
// function is called. An empty address disables it. An error of listening is logged,
// and does not fail the run.
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

// progressServer returns a server of the progress alone.
func progressServer(m *pipeline.Meter) *http.Server {
	mux := http.NewServeMux()
	// The pattern matches HEAD, too.
	mux.HandleFunc(http.MethodGet+" "+outcome.ProgressPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// An error means that the caller has gone away.
		_ = json.NewEncoder(w).Encode(m.Progress())
	})
	s := &http.Server{
		Handler:           mux,
		ReadTimeout:       progressPatience,
		ReadHeaderTimeout: progressPatience,
		WriteTimeout:      progressPatience,
		MaxHeaderBytes:    outcome.MaxProgressBytes,
		// Errors of callers do not belong into the run's log.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.SetKeepAlivesEnabled(false)
	return s
}
