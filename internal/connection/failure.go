package connection

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A Cause is why a connection is refused, which no other try changes.
type Cause int

// Causes. The zero value is none of them.
const (
	// None: the connection failed otherwise, or did not fail.
	None Cause = iota

	// UnknownAuthority: no trusted authority signed the server's certificate.
	UnknownAuthority

	// WrongHost: the server's certificate is for another host.
	WrongHost

	// InvalidCertificate: the server's certificate is not valid otherwise, for
	// example not any more.
	InvalidCertificate

	// NoTLS: the server answered without TLS.
	NoTLS

	// NoCertificate: the server refuses this side, for it showed no client
	// certificate or one that the server does not take.
	NoCertificate

	// Blocked: a Guard refused the connection. The BlockedError tells more.
	Blocked
)

// String says what is wrong, about a server that was named before.
func (c Cause) String() string {
	switch c {
	case UnknownAuthority:
		return "its certificate is signed by an authority that is not trusted"
	case WrongHost:
		return "its certificate is for another host name"
	case InvalidCertificate:
		return "its certificate is not valid"
	case NoTLS:
		return "it speaks HTTP and not HTTPS"
	case NoCertificate:
		return "it wants a client certificate that it trusts"
	case Blocked:
		return "it leads into a network that it is not in"
	default:
		return "the connection failed"
	}
}

// CauseOf returns why a connection is refused, or None if err is not about
// that.
func CauseOf(err error) Cause {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		verify    *tls.CertificateVerificationError
		remote    *net.OpError
		blocked   *BlockedError
	)
	switch {
	case errors.As(err, &blocked):
		return Blocked
	case errors.As(err, &authority):
		return UnknownAuthority
	case errors.As(err, &name):
		return WrongHost
	case errors.As(err, &verify):
		return InvalidCertificate
	case errors.Is(err, http.ErrSchemeMismatch):
		return NoTLS
	case errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "certificate"):
		// The server's alert (RFC 8446, section 6.2), whose type crypto/tls does
		// not export: all that name a certificate are about the client's.
		return NoCertificate
	}
	return None
}

// Explain says why a connection is refused, about a server that was named
// before. It is for an error of which CauseOf returns a Cause.
func Explain(err error) string {
	var blocked *BlockedError
	if errors.As(err, &blocked) {
		return blocked.Error()
	}
	return CauseOf(err).String()
}

// Symptom names what the network did, about a server that was named before. It
// repeats nothing of err's text.
func Symptom(err error) string {
	var (
		dns *net.DNSError
		ne  net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such host"
	case errors.As(err, &dns):
		return "its name cannot be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), strings.HasSuffix(err.Error(), "EOF"):
		return "the connection was cut"
	case errors.As(err, &ne) && ne.Timeout():
		return "it did not answer in time"
	}
	return "the connection failed"
}
