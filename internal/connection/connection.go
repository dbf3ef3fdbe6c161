// Package connection is what a client of a Hub and one of a registry have in
// common: how they connect, whom they trust, and words for why that failed.
package connection

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

const (
	dialTimeout = 30 * time.Second
	keepAlive   = 30 * time.Second
	tlsTimeout  = 20 * time.Second
	idleTimeout = 90 * time.Second

	// maxIdlePerHost is how many connections to a host are kept: as many as are used side
	// by side at most, which is not for a connection to bound.
	maxIdlePerHost = 256

	// maxHeaderBytes bounds an answer's header. Signed URLs, the longest values that
	// servers send, have a few KiB; net/http's own bound is 10 MiB for each of the
	// answers that come side by side.
	maxHeaderBytes = 128 << 10
)

// NewTransport returns a transport that trusts the authorities of a pool, takes
// a proxy from the environment, and connects to what a Guard allows. Establishing
// a connection has a time limit; waiting for an answer has none. An answer's
// header is bounded.
//
// It speaks HTTP/1.1 only, where bodies that come or go side by side have a
// connection, and so a window, of their own.
func NewTransport(pool *x509.CertPool, g *Guard) *http.Transport {
	// HTTP/2 is off unless ForceAttemptHTTP2 says otherwise, since there is a
	// DialContext.
	return &http.Transport{
		Proxy:               g.Proxy,
		DialContext:         g.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: tlsTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConnsPerHost: maxIdlePerHost,

		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// ErrNoCertificate says that there was no certificate where some were expected.
var ErrNoCertificate = errors.New("no certificate in PEM form")

// Roots returns the system's certificate authorities with those in pem and in a
// file, both in PEM form and both empty for none. If these hold no certificate
// at all, the error is ErrNoCertificate, otherwise the one of reading the file.
// With neither, the pool is nil, as which crypto/tls takes the system's: these are read
// only once a connection uses TLS, since that takes longer than a small pull.
func Roots(pem []byte, file string) (*x509.CertPool, error) {
	if len(pem) == 0 && file == "" {
		return nil, nil //nolint:nilnil // It is a value of tls.Config.RootCAs.
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	added := pool.AppendCertsFromPEM(PEM(pem))
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		added = pool.AppendCertsFromPEM(PEM(b)) || added
	}
	if !added {
		return nil, ErrNoCertificate
	}
	return pool, nil
}
