package contract

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/crypto/bcrypt"
)

const (
	user     = "pusher"
	password = "correct-horse-battery"
)

// A testRegistry is a registry that wants a user's password. It is one in
// memory, or, with REGISTRY=path in the environment, that program: CNCF
// Distribution with an htpasswd file.
type testRegistry struct {
	host string
	next http.Handler

	mu     sync.Mutex
	refuse func(*http.Request) int // A status to answer with, or zero.
}

func (w *world) newRegistry(dir string, cert *tls.Certificate) (*testRegistry, error) {
	r := &testRegistry{next: wantPassword(giveLocation(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))}
	if program := os.Getenv("REGISTRY"); program != "" {
		d, err := w.startDistribution(program, dir)
		if err != nil {
			return nil, err
		}
		r.next = d
	}
	r.host = w.serve(r, cert).Listener.Addr().String()
	return r, nil
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	refuse := r.refuse
	r.mu.Unlock()
	if refuse != nil {
		if status := refuse(req); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	r.next.ServeHTTP(w, req)
}

// refuseBy makes the registry answer some requests with a status; nil ends
// that.
func (r *testRegistry) refuseBy(f func(*http.Request) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

func wantPassword(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// giveLocation adds what the distribution specification asks of a registry
// that took a blob, and the one in memory leaves out. Kit crashes without.
func giveLocation(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if repository, _, ok := strings.Cut(r.URL.Path, "/blobs/uploads/"); ok && r.Method == http.MethodPut {
			w.Header().Set("Location", repository+"/blobs/"+r.URL.Query().Get("digest"))
		}
		next.ServeHTTP(w, r)
	})
}

const distributionConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, secret: contract}
auth: {htpasswd: {realm: test, path: %q}}
`

// startDistribution starts a registry of its own on loopback and returns the
// way to it.
func (w *world) startDistribution(program, dir string) (http.Handler, error) {
	dir, err := os.MkdirTemp(dir, "registry-")
	if err != nil {
		return nil, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	htpasswd, config := filepath.Join(dir, "htpasswd"), filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(distributionConfig, filepath.Join(dir, "data"), addr, htpasswd)
	for file, content := range map[string]string{htpasswd: user + ":" + string(hash) + "\n", config: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := awaitTCP(addr); err != nil {
		return nil, fmt.Errorf("%s does not serve: %w", program, err)
	}
	to := &url.URL{Scheme: "http", Host: addr}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		// The registry makes its locations of these.
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// awaitTCP waits until something listens.
func awaitTCP(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
