package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/child"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// Names by which the Hub is reached. Kit speaks to no other, so that all
// contenders do, by TLS as on the real one.
const (
	hubHost = "huggingface.co"
	cdnHost = "cdn-lfs.huggingface.co"
	hubURL  = "https://" + hubHost
)

// pageSize of the Hub's lists. The real one has 1000; kit reads the first page
// only, and packs nothing of what is on the others.
const pageSize = 10_000

// startHub starts the Hub over a folder, and returns the address of the proxy by
// which it is reached.
func startHub(ctx context.Context, dir, identity string) (*child.Process, string, error) {
	var address string
	c, err := child.Start(ctx, &address, "hub", dir, identity)
	return c, address, err
}

// runHub is the child's side: a proxy that answers for the Hub itself, so that
// no byte is copied once more.
func runHub(dir, identity string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(identity, certFile), filepath.Join(identity, keyFile))
	if err != nil {
		return errors.Wrap(err, "cannot read the Hub's certificate")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Wrap(err, "cannot listen")
	}
	quiet := log.New(io.Discard, "", 0)
	tunnels := &tunnels{at: l.Addr(), conns: make(chan net.Conn)}
	handler := hub.NewHandler(dir, hub.WithFrozenFiles(), hub.WithCDN(cdnHost), hub.WithPageSize(pageSize))
	inner := &http.Server{
		Handler:           handler,
		ErrorLog:          quiet,
		ReadHeaderTimeout: time.Minute,
		// An empty map is HTTP/1.1 only, which Go serves with less work.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	outer := &http.Server{Handler: tunnels, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	go func() { _ = inner.ServeTLS(tunnels, "", "") }()
	go func() { _ = outer.Serve(l) }()
	return child.Answer(l.Addr().String(), func(asked string) any {
		var q hubQuestion
		if err := json.Unmarshal([]byte(asked), &q); err != nil {
			return http.StatusBadRequest
		}
		handler.SetFault(nil)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/"+q.Model+"/tree/main", nil))
		if q.Limit > 0 {
			handler.SetFault(hub.RateLimit(hub.On("/resolve/"), q.Limit, q.Window))
		}
		return w.Code
	})
}

// A hubQuestion is what the Hub is asked before a run.
type hubQuestion struct {
	// Model whose files it reads and hashes, unless it has: models/organisation/name.
	Model string `json:"model"`

	// Limit of requests for files in each window; none if it is zero. The first window
	// begins when this is asked.
	Limit  int           `json:"limit,omitempty"`
	Window time.Duration `json:"window,omitempty"`
}

// warm has the Hub read and hash a model's files before they are measured, so that
// no contender waits for that, and sets its limit of requests for files.
func (e *ends) warm(m model) error {
	q, err := json.Marshal(hubQuestion{Model: m.kind() + "/" + m.name(), Limit: e.hubLimit, Window: e.hubWindow})
	if err != nil {
		return err
	}
	var status int
	if err := e.hub.Ask(string(q), &status); err != nil {
		return errors.Wrap(err, "cannot ask the Hub to read its files")
	}
	if status != http.StatusOK {
		return errors.Errorf("the Hub cannot read the files of %s: it answers %d", m.name(), status)
	}
	return nil
}

// tunnels are connections that clients asked the proxy for.
type tunnels struct {
	at    net.Addr
	conns chan net.Conn
}

// ServeHTTP turns a connection into a tunnel to the Hub.
func (t *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || (host != hubHost && host != cdnHost) {
		http.Error(w, "nothing leaves this machine", http.StatusForbidden)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	t.conns <- c
}

// Accept implements net.Listener.
func (t *tunnels) Accept() (net.Conn, error) { return <-t.conns, nil }

// Close implements net.Listener.
func (t *tunnels) Close() error { return nil }

// Addr implements net.Listener.
func (t *tunnels) Addr() net.Addr { return t.at }
