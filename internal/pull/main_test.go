package pull

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// The tests run against CNCF's distribution, on which most other registries are built.
// It listens on a socket, and each test has a server of its own in front of it, which
// can inject faults.
var open, guarded *url.URL

const (
	testUser     = "ada"
	testPassword = "correct horse"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(envPull); args != "" {
		os.Exit(pullInChild(args))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pull-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	bin, err := programs.Build(ctx, os.Stderr, programs.Registry)
	cancel()
	if err != nil {
		panic(err)
	}
	for _, r := range []struct {
		name  string
		to    **url.URL
		extra string
	}{
		{"open", &open, ""},
		{"guarded", &guarded, "auth: {htpasswd: {realm: test, path: " + filepath.Join(dir, "htpasswd") + "}}\n"},
	} {
		stop, err := startRegistry(filepath.Join(bin, "registry"), filepath.Join(dir, r.name), r.extra)
		if err != nil {
			panic(err)
		}
		defer stop()
		*r.to = &url.URL{Scheme: "unix", Path: filepath.Join(dir, r.name, "s")}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", testUser, hash), 0o600); err != nil {
		panic(err)
	}
	return m.Run()
}

// startRegistry starts a registry that serves on the socket s in dir.
func startRegistry(program, dir, extra string) (func(), error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\n"+
		"http: {net: unix, addr: %s/s, relativeurls: true}\n%s", dir, dir, extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "serve", config)
	cmd.Stderr = &said
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", filepath.Join(dir, "s"))
		if err == nil {
			_ = c.Close()
			return stop, nil
		}
		if time.Now().After(deadline) {
			stop()
			return nil, fmt.Errorf("the registry does not start: %w: %s", err, said.String())
		}
	}
}

// A front is a server in front of a registry. It records requests.
type front struct {
	*httptest.Server

	// wrap wraps the registry; nil for none.
	wrap func(next http.Handler) http.Handler

	mu    sync.Mutex
	asked []*http.Request
}

// newFront starts a server in front of a registry.
func newFront(t testing.TB, to *url.URL, secure bool) *front {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "registry"
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", to.Path)
		}},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	f := &front{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Clone(context.Background()))
		wrap := f.wrap
		f.mu.Unlock()
		if wrap == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		wrap(proxy).ServeHTTP(w, r)
	})
	f.Server = httptest.NewUnstartedServer(handler)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func (f *front) host() string {
	_, host, _ := strings.Cut(f.URL, "://")
	return host
}

// breaks wraps the registry, and forgets earlier requests.
func (f *front) breaks(wrap func(next http.Handler) http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrap, f.asked = wrap, nil
}

// requests returns the requests whose path contains part, as their method and range.
func (f *front) requests(part string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	for _, r := range f.asked {
		if strings.Contains(r.URL.Path, part) {
			out = append(out, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
		}
	}
	return out
}

// A cutter is a ResponseWriter that interrupts the connection after some bytes of the
// body, or changes bytes.
type cutter struct {
	http.ResponseWriter

	left   int
	change func([]byte)
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.change != nil {
		p = bytes.Clone(p)
		c.change(p)
		return c.ResponseWriter.Write(p)
	}
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}
