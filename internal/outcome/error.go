package outcome

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// An Error is a failure that is reported to an Artifact's user. Its message is one
// line that names the cause and, if there is one, the cure. It must never contain a
// token, a password or a server's answer as it is.
type Error struct {
	// Reason of the failure.
	Reason Reason

	// Message for the user: what failed, why, and how to fix it.
	Message string

	// RetryAfter is how long a server asked to wait; zero if none did.
	RetryAfter time.Duration

	cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error with this reason and message.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: singleLine(fmt.Sprintf(format, args...))}
}

// Because returns a copy of e with a cause. The cause's text does not become part
// of the message.
func (e *Error) Because(cause error) *Error {
	out := *e
	out.cause = cause
	return &out
}

// After returns a copy of e that must not be retried sooner than after d.
func (e *Error) After(d time.Duration) *Error {
	out := *e
	out.RetryAfter = d
	return &out
}

// RetryAfterOf returns RetryAfter of the first Error in the chain of err, or zero.
func RetryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// ReasonOf returns the reason of the first Error in the chain of err. Without one
// it returns Unavailable for an error of the network, NoSpace for a full disk, and
// Internal for any other error.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return NoSpace
	case IsNetwork(err):
		return Unavailable
	}
	return Internal
}

// IsNetwork reports whether err is an error of the network rather than a server's
// answer: a refused or reset connection, a timeout, a truncated stream, or a name
// that cannot be resolved.
func IsNetwork(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	// Not every net.Error is one: the errors of all system calls implement it,
	// such as that of a missing file, and so does that of an untrusted
	// certificate.
	var (
		op      *net.OpError
		dns     *net.DNSError
		request *url.Error
	)
	switch {
	case errors.As(err, &op), errors.As(err, &dns):
		return true
	case errors.As(err, &request) && !isTLS(err) && !IsBadRequest(err):
		return true
	}
	for _, e := range []error{io.ErrUnexpectedEOF, context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IsBadRequest reports whether err says that net/http refused to send a request,
// which is permanent. Its errors have no type.
func IsBadRequest(err error) bool {
	var request *url.Error
	if !errors.As(err, &request) || request.Err == nil {
		return false
	}
	text := request.Err.Error()
	return slices.ContainsFunc([]string{
		"net/http: invalid ", "http: no Host in request URL", "unsupported protocol scheme ", "http: nil Request.",
	}, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// isTLS reports whether err is a failed TLS handshake, which is permanent.
func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	return errors.As(err, &certificate) || errors.As(err, &record)
}

// userinfo matches the account and password of a URL (RFC 3986, section 3.2.1),
// even if the password contains an @.
var userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s"'<>]*@`)

// WithoutUserinfo returns a text without the accounts and passwords of the URLs in
// it, such as a proxy's.
func WithoutUserinfo(s string) string { return userinfo.ReplaceAllString(s, "${1}***@") }

// Shorten returns a foreign text, such as a name, cut to a length that suits a
// message.
func Shorten(s string) string { return truncate(s, 120) }

// singleLine returns a text as one line of valid UTF-8, with white space and control
// characters folded and without the passwords of URLs.
func singleLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return WithoutUserinfo(s)
}
