// Package registry runs a real registry for tests: CNCF Distribution, the same
// program that the local cluster has, with a server of the test's own before
// it, which speaks TLS, gives out tokens, counts requests and breaks things.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Options of a registry. The zero value is a registry without access control,
// without TLS.
type Options struct {
	// Users who may use the registry; none for a registry without accounts. They
	// are known by their passwords, unless there are tokens.
	Users []User

	// TokenLife makes the registry want bearer tokens that live this long, from
	// one second on; zero for none. They are good for up to a second more, since
	// their times are whole seconds.
	TokenLife time.Duration

	// NoDelete makes the registry delete nothing, as it does by default.
	NoDelete bool

	// TLS makes the registry speak TLS with a certificate of an authority that
	// no client trusts.
	TLS bool

	// IPv6 makes the registry listen on [::1] instead of 127.0.0.1.
	IPv6 bool

	// ClientCertificates makes it want one of its client with TLS.
	ClientCertificates bool
}

// A User is an account at a registry.
type User struct {
	// Name and Password of the account.
	Name, Password string

	// Actions are all that tokens of this account may do: pull, push, delete.
	// Nil is all of them.
	Actions []string
}

// A Registry is a running one.
type Registry struct {
	options  Options
	server   *httptest.Server
	end      context.CancelFunc
	process  *process // Nil for another front of a registry.
	socket   string
	tokens   *tokens // Nil without tokens.
	identity *identity

	mu       sync.Mutex
	fault    Fault
	requests []Request
}

// A Request that a registry got.
type Request struct {
	// Method and Path that were asked.
	Method, Path string
}

// Start starts a registry, which ends with the test.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	r, err := Run(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Run starts a registry that keeps what it holds in a folder. It ends with
// Close, or with this process.
func Run(dir string, o Options) (*Registry, error) {
	r := &Registry{options: o}
	var err error
	if o.TLS {
		if r.identity, err = newIdentity(); err != nil {
			return nil, errors.Wrap(err, "cannot make certificates")
		}
	}
	if o.TokenLife > 0 {
		if r.tokens, err = newTokens(o.TokenLife, o.Users); err != nil {
			return nil, errors.Wrap(err, "cannot make a token server")
		}
	}
	if r.process, err = startProcess(dir, o, r.tokens); err != nil {
		return nil, err
	}
	r.socket = r.process.socket
	return r, r.serve()
}

// Front returns another way to the same registry, with faults and counts of its
// own. It ends with the test.
func (r *Registry) Front(t testing.TB) *Registry {
	t.Helper()
	f := &Registry{options: r.options, tokens: r.tokens, identity: r.identity, socket: r.socket}
	if err := f.serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Close ends the registry, or this front of it.
func (r *Registry) Close() {
	r.end()
	r.server.CloseClientConnections()
	r.server.Close()
	if r.process != nil {
		r.process.stop()
	}
}

// Host of the registry: an address on loopback with a port.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// SetUsers changes who may use the registry. A registry that had none continues
// without.
func (r *Registry) SetUsers(users ...User) error {
	if r.tokens != nil {
		r.tokens.setUsers(users)
		return nil
	}
	return r.process.writeUsers(users)
}

// SetFault puts a fault before the registry; nil for none.
func (r *Registry) SetFault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Requests that came since the start or the last ResetRequests, those for
// tokens too.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Count returns how many requests there were by this method with part in their
// path; any method if it is empty.
func (r *Registry) Count(method, part string) int {
	n := 0
	for _, q := range r.Requests() {
		if (method == "" || q.Method == method) && strings.Contains(q.Path, part) {
			n++
		}
	}
	return n
}

// ResetRequests forgets what was asked.
func (r *Registry) ResetRequests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// serve starts the server before the registry.
func (r *Registry) serve() error {
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	r.server = httptest.NewUnstartedServer(r.handler())
	if r.options.IPv6 {
		_ = r.server.Listener.Close()
		var err error
		if r.server.Listener, err = net.Listen("tcp6", "[::1]:0"); err != nil {
			return errors.Wrap(err, "cannot listen on the IPv6 loopback address")
		}
	}
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	// Requests that are held continue when the server ends.
	r.server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	if r.identity == nil {
		r.server.Start()
		return nil
	}
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{r.identity.server}, MinVersion: tls.VersionTLS12}
	if r.options.ClientCertificates {
		r.server.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		r.server.TLS.ClientCAs = x509.NewCertPool()
		r.server.TLS.ClientCAs.AppendCertsFromPEM(r.identity.ca)
	}
	r.server.StartTLS()
	return nil
}

func (r *Registry) handler() http.Handler {
	next := r.proxy()
	if r.tokens != nil {
		mux := http.NewServeMux()
		mux.Handle(tokenPath, r.tokens)
		mux.Handle("/", next)
		next = mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, Request{Method: req.Method, Path: req.URL.Path})
		fault := r.fault
		r.mu.Unlock()
		if fault != nil {
			fault(next).ServeHTTP(w, req)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// proxy returns the way to the registry's socket.
func (r *Registry) proxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "registry"
			// The registry makes its locations, and the token server's, of these.
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
		}},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
}
