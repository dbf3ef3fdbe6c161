package connection

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// secureServer is a server with a certificate that nobody trusts.
func secureServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ask asks once, with a transport that trusts these authorities also.
func ask(t *testing.T, u string, ca []byte) error {
	t.Helper()
	pool, err := Roots(ca, "")
	if err != nil {
		t.Fatal(err)
	}
	return askWith(t, u, pool)
}

func askWith(t *testing.T, u string, pool *x509.CertPool) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(pool, NewGuard(req.URL.Host))
	defer transport.CloseIdleConnections()
	rsp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		_ = rsp.Body.Close()
	}
	return err
}

func TestLasting(t *testing.T) {
	secure := secureServer(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	mutual := httptest.NewUnstartedServer(http.NotFoundHandler())
	mutual.Config.ErrorLog = log.New(io.Discard, "", 0)
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	mutual.StartTLS()
	t.Cleanup(mutual.Close)
	// The certificate is for 127.0.0.1 and example.com.
	elsewhere := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)

	cases := map[string]struct {
		reason string
		args   error
		want   Cause
	}{
		"Nothing":          {reason: "No error has no cause."},
		"Known":            {reason: "With the authority, all is well.", args: ask(t, secure.URL, pemOf(secure))},
		"UnknownAuthority": {reason: "Without it, the certificate is not trusted.", args: ask(t, secure.URL, nil), want: UnknownAuthority},
		"WrongHost":        {reason: "A certificate is for some names.", args: ask(t, elsewhere, pemOf(secure)), want: WrongHost},
		"NoTLS":            {reason: "A server may not know TLS.", args: ask(t, "https"+strings.TrimPrefix(plain.URL, "http"), nil), want: NoTLS},
		"NoCertificate":    {reason: "A server may want one of its client.", args: ask(t, mutual.URL, pemOf(mutual)), want: NoCertificate},
		"Expired": {
			reason: "A certificate has an end.",
			args:   &url.Error{Op: "Get", Err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}},
			want:   InvalidCertificate,
		},
		"Refused": {reason: "What the network does passes.", args: errors.Wrap(syscall.ECONNREFUSED, "dial")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, CauseOf(tc.args)); diff != "" {
				t.Errorf("\n%s\nLasting(%v): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}

func TestSymptom(t *testing.T) {
	request := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://cdn.example.com/f?Signature=hush", Err: err}
	}
	cases := map[string]struct {
		reason string
		args   error
		want   string
	}{
		"NoHost":    {reason: "A name may not be there.", args: request(&net.DNSError{IsNotFound: true}), want: "there is no such host"},
		"NoAnswer":  {reason: "A name server may fail.", args: request(&net.DNSError{IsTimeout: true}), want: "its name cannot be looked up"},
		"Refused":   {reason: "Nobody may listen.", args: request(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), want: "the connection was refused"},
		"Reset":     {reason: "A connection may be reset.", args: request(syscall.ECONNRESET), want: "the connection was cut"},
		"EOF":       {reason: "A server may hang up.", args: request(io.EOF), want: "the connection was cut"},
		"CutShort":  {reason: "Also in the middle.", args: request(io.ErrUnexpectedEOF), want: "the connection was cut"},
		"Timeout":   {reason: "A server may be slow.", args: request(context.DeadlineExceeded), want: "it did not answer in time"},
		"Otherwise": {reason: "What is not known is not repeated.", args: request(errors.New("secret")), want: "the connection failed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Symptom(tc.args)); diff != "" {
				t.Errorf("\n%s\nSymptom(%v): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}
