package registry

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// An ownTransport shows a client certificate to the registry, and to no other
// host that the registry leads to: who it stands for is none of their business,
// and a handshake with it is one that they could make use of.
type ownTransport struct {
	host        string // As in URLs.
	own, others *http.Transport
}

// newOwnTransport returns a transport for a client of a registry.
func newOwnTransport(host string, pool *x509.CertPool, certificates []tls.Certificate) *ownTransport {
	guard := connection.NewGuard(host)
	fresh := func() *http.Transport {
		out := connection.NewTransport(pool, guard)
		out.WriteBufferSize = 64 << 10
		return out
	}
	t := &ownTransport{host: host, own: fresh()}
	if t.others = t.own; len(certificates) > 0 {
		t.others = fresh()
		t.own.TLSClientConfig.Certificates = certificates
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *ownTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if bareHost(req.URL.Host, req.URL.Scheme) == bareHost(t.host, req.URL.Scheme) {
		return t.own.RoundTrip(req)
	}
	return t.others.RoundTrip(req)
}

// CloseIdleConnections closes connections that no request uses.
func (t *ownTransport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	t.others.CloseIdleConnections()
}

// bareHost returns a host in lower case and without the port that its scheme
// has anyway.
func bareHost(host, scheme string) string {
	return strings.TrimSuffix(strings.ToLower(host), map[string]string{"https": ":443", "http": ":80"}[scheme])
}
