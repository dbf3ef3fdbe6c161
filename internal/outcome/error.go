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

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// An Error is a failure with the reason that an Artifact's user is told. Its
// message is one line that names the cause and, where there is one, the cure.
// It never holds a token, a password or what a server answered as it stood.
type Error struct {
	// Reason of the failure.
	Reason Reason

	// Message for the user: what failed, why, and what to do about it.
	Message string

	// RetryAfter is how long a server asked to wait; zero where none did.
	RetryAfter time.Duration

	cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the error that this one was made from, if any.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error with this reason and message.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: singleLine(fmt.Sprintf(format, args...))}
}

// Because returns a copy of e that unwraps to the supplied cause. The cause's
// text does not become part of the message.
func (e *Error) Because(cause error) *Error {
	out := *e
	out.cause = cause
	return &out
}

// After returns a copy of e that asks to be tried again no sooner than d.
func (e *Error) After(d time.Duration) *Error {
	out := *e
	out.RetryAfter = d
	return &out
}

// RetryAfterOf returns how long a server asked to wait by an error; zero where
// none did.
func RetryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// ReasonOf returns the reason of the first Error in the chain of err, or what
// the kind of error tells: Unavailable for what the network did, NoSpace for
// a full disk, otherwise Internal.
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

// IsNetwork says whether err comes from the network rather than from what a
// server said: a refused or reset connection, a timeout, a stream cut short, a
// name that cannot be resolved.
func IsNetwork(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	// Not any net.Error: each system call's is one, also where a file is
	// missing, and so is a request's where a certificate is not trusted.
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

// IsBadRequest reports whether err says that a request could not be sent as it
// was made, which no other try changes. What net/http checks before it connects
// has no type.
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

// isTLS says whether two parties could not agree on how to be private, which no
// other try changes.
func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	return errors.As(err, &certificate) || errors.As(err, &record)
}

// userinfo is what an address in a text may name an account and a password by
// (RFC 3986, section 3.2.1), also where the password holds an @.
var userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s"'<>]*@`)

// WithoutUserinfo returns a text in which no address, such as a proxy's, holds an
// account or a password.
func WithoutUserinfo(s string) string { return userinfo.ReplaceAllString(s, "${1}***@") }

// Shorten returns a foreign text, such as a name, cut to a length that suits a
// message.
func Shorten(s string) string { return truncate(s, 120) }

// singleLine folds white space and control characters, so that a message is
// one line wherever it is shown. What is no UTF-8 is replaced, and no address in
// it holds a password.
func singleLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return WithoutUserinfo(s)
}
