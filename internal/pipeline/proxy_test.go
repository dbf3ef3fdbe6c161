package pipeline

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// proxiedHub is a host that only the proxy knows. It is one that the
// certificates of httptest are good for.
const proxiedHub = "example.com"

// envAsk makes TestAskInChild ask: hosts of a Hub or a registry, as kind=host.
// Proxies are read from the environment once, so that each case is a process.
const envAsk = "TEST_PIPELINE_ASK"

// A proxy lets clients through to some hosts, and notes all that they ask for.
type proxy struct {
	*httptest.Server

	to map[string]string

	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T, to map[string]string) *proxy {
	t.Helper()
	p := &proxy{to: to}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP tunnels a connection (RFC 9110, section 9.3.6).
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	to, ok := p.to[r.Host]
	if !ok || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	server, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	w.WriteHeader(http.StatusOK)
	client, read, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	// The server may have read the client's first bytes already.
	go func() { _, _ = io.Copy(server, read) }()
	_, _ = io.Copy(client, server)
}

// wasAsked returns what was asked, again and again as once.
func (p *proxy) wasAsked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Compact(p.asked)
}

// TestProxy has the worker's clients ask a Hub and a registry, with a proxy in
// the environment.
func TestProxy(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{TLS: true})
	hub := httptest.NewUnstartedServer(http.NotFoundHandler())
	hub.Config.ErrorLog = log.New(io.Discard, "", 0)
	hub.StartTLS()
	t.Cleanup(hub.Close)
	hubAddress := hub.Listener.Addr().String()
	to := map[string]string{testregistry.ProxiedHost + ":443": r.Host(), proxiedHub + ":443": hubAddress}
	cas := filepath.Join(t.TempDir(), "ca.crt")
	pair := slices.Concat(r.CA(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hub.Certificate().Raw}))
	if err := os.WriteFile(cas, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	type want struct {
		Reason outcome.Reason
		Asked  []string
	}
	cases := map[string]struct {
		reason string
		ask    string
		env    string // Variables, by spaces.
		want   want
	}{
		"Registry": {
			reason: "The registry should be reached through the proxy.", ask: "registry=" + testregistry.ProxiedHost, env: "HTTPS_PROXY=PROXY_URL",
			want: want{Reason: outcome.NotFound, Asked: []string{"CONNECT " + testregistry.ProxiedHost + ":443"}},
		},
		"Hub": {
			reason: "The Hub should be reached through the proxy.", ask: "hub=https://" + proxiedHub, env: "HTTPS_PROXY=PROXY_URL",
			want: want{Reason: outcome.NotFound, Asked: []string{"CONNECT " + proxiedHub + ":443"}},
		},
		"LowerCase": {
			reason: "The variable in lower case should work, too.", ask: "registry=" + testregistry.ProxiedHost, env: "https_proxy=PROXY_URL",
			want: want{Reason: outcome.NotFound, Asked: []string{"CONNECT " + testregistry.ProxiedHost + ":443"}},
		},
		"RegistryHere": {
			reason: "A registry on loopback should be reached directly.", ask: "registry=" + r.Host(), env: "HTTPS_PROXY=PROXY_URL",
			want: want{Reason: outcome.NotFound},
		},
		"HubHere": {
			reason: "A Hub on loopback should be reached directly.", ask: "hub=" + hub.URL, env: "HTTPS_PROXY=PROXY_URL",
			want: want{Reason: outcome.NotFound},
		},
		"RegistryExcepted": {
			reason: "A host in NO_PROXY should be reached directly, here one that does not resolve.", ask: "registry=" + testregistry.ProxiedHost,
			env: "HTTPS_PROXY=PROXY_URL NO_PROXY=.internal,.test", want: want{Reason: outcome.Unavailable},
		},
		"Refused": {
			reason: "A proxy that refuses to connect should count as unavailable.", ask: "registry=other.test", env: "HTTPS_PROXY=PROXY_URL",
			want: want{Reason: outcome.Unavailable, Asked: []string{"CONNECT other.test:443"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, to)
			got := want{Reason: askInChild(t, cas, tc.ask, strings.ReplaceAll(tc.env, "PROXY_URL", p.URL)), Asked: p.wasAsked()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// askInChild returns the reason of the error of asking something in a process
// with this environment.
func askInChild(t *testing.T, cas, what, env string) outcome.Reason {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAskInChild$", "-test.v")
	clean := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		return strings.HasSuffix(name, "_PROXY")
	})
	cmd.Env = append(append(clean, strings.Fields(env)...), envAsk+"="+what, "TEST_PIPELINE_CAS="+cas)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, reason, ok := strings.Cut(string(out), "REASON ")
	if !ok {
		t.Fatalf("no reason in\n%s", out)
	}
	reason, _, _ = strings.Cut(reason, "\n")
	return outcome.Reason(strings.TrimSpace(reason))
}

// TestAskInChild is what askInChild runs.
func TestAskInChild(t *testing.T) {
	kind, host, ok := strings.Cut(os.Getenv(envAsk), "=")
	if !ok {
		t.Skip("runs as a part of TestProxy")
	}
	cas := os.Getenv("TEST_PIPELINE_CAS")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	if kind == "hub" {
		c, cerr := NewHub(Source{Endpoint: host, CAFile: cas})
		if cerr != nil {
			t.Fatal(cerr)
		}
		_, err = c.Resolve(ctx, "org/model", "main")
	} else {
		c, cerr := NewRegistry(Target{Registry: host, Repository: "models/model", CAFile: cas}, retry.Policy{Tries: 1}, nil)
		if cerr != nil {
			t.Fatal(cerr)
		}
		_, err = c.Resolve(ctx, "models/model", "v1")
	}
	fmt.Printf("REASON %s\n", outcome.ReasonOf(err))
}
