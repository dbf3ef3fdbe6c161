package outcome

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

var errBoom = errors.New("boom")

func TestErrorf(t *testing.T) {
	type args struct {
		reason Reason
		format string
		args   []any
	}
	type want struct {
		Reason  Reason
		Message string
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Plain":     {reason: "The message should be formatted.", args: args{reason: Gated, format: "cannot read %q", args: []any{"a/b"}}, want: want{Reason: Gated, Message: `cannot read "a/b"`}},
		"Lines":     {reason: "The message should be one line.", args: args{reason: Internal, format: "a\n\tb\r\nc  d"}, want: want{Reason: Internal, Message: "a b c d"}},
		"Arguments": {reason: "Arguments should become part of the one line.", args: args{reason: Internal, format: "cannot %s", args: []any{"a\nb"}}, want: want{Reason: Internal, Message: "cannot a b"}},
		"Controls":  {reason: "Control characters, which terminals obey, should be removed.", args: args{reason: Internal, format: "a\x00b\x1b[31mc\x7fd\u0085e\u2028f"}, want: want{Reason: Internal, Message: "a b [31mc d e f"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := Errorf(tc.args.reason, tc.args.format, tc.args.args...)
			if diff := cmp.Diff(tc.want, want{Reason: e.Reason, Message: e.Error()}); diff != "" {
				t.Errorf("\n%s\nErrorf(): -want, +got:\n%s", tc.reason, diff)
			}
			if e.Unwrap() != nil || e.RetryAfter != 0 {
				t.Errorf("\n%s\nA new error has no cause and asks for no wait: %v, %s", tc.reason, e.Unwrap(), e.RetryAfter)
			}
		})
	}
}

func TestBecauseAndAfter(t *testing.T) {
	e := Errorf(RateLimited, "the Hub asks to wait")
	both := e.Because(errBoom).After(time.Minute)
	if !errors.Is(both, errBoom) {
		t.Error("An error unwraps to its cause")
	}
	if diff := cmp.Diff(e.Error(), both.Error()); diff != "" {
		t.Errorf("A cause's text is not for users: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(time.Minute, both.RetryAfter); diff != "" {
		t.Errorf("RetryAfter: -want, +got:\n%s", diff)
	}
	if errors.Is(e, errBoom) || e.RetryAfter != 0 {
		t.Error("The error that was copied has changed")
	}
}

// A networkCase is an error, and whether it is one of the network.
type networkCase struct {
	reason string
	args   error
	want   bool
}

func networkCases() map[string]networkCase {
	request := func(err error) error { return &url.Error{Op: "Get", URL: "https://hub.example.com", Err: err} }
	return map[string]networkCase{
		"Nil":              {reason: "No error should not be an error of the network."},
		"Refused":          {reason: "A refused connection should be an error of the network.", args: request(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), want: true},
		"Reset":            {reason: "A reset connection should be an error of the network.", args: errors.Wrap(syscall.ECONNRESET, "read"), want: true},
		"BrokenPipe":       {reason: "A closed connection should be an error of the network.", args: errors.Wrap(syscall.EPIPE, "write"), want: true},
		"Unreachable":      {reason: "An unreachable host should be an error of the network.", args: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, want: true},
		"Name":             {reason: "A name that cannot be resolved should be an error of the network.", args: request(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}), want: true},
		"Timeout":          {reason: "A timeout should be an error of the network.", args: os.ErrDeadlineExceeded, want: true},
		"Deadline":         {reason: "An exceeded deadline should be an error of the network.", args: errors.Wrap(context.DeadlineExceeded, "cannot read"), want: true},
		"CutShort":         {reason: "A truncated stream should be an error of the network.", args: errors.Wrap(io.ErrUnexpectedEOF, "cannot read"), want: true},
		"NoAnswer":         {reason: "A connection that is closed without a response should be an error of the network.", args: request(io.EOF), want: true},
		"Canceled":         {reason: "A canceled request should not be an error of the network.", args: request(context.Canceled)},
		"EndOfFile":        {reason: "The end of a file should not be an error of the network.", args: io.EOF},
		"Other":            {reason: "An unknown error should not be an error of the network.", args: errBoom},
		"NoFile":           {reason: "A missing file should not be an error of the network.", args: &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}},
		"NoPermission":     {reason: "An unreadable file should not be an error of the network.", args: &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}},
		"DiskFull":         {reason: "A full disk should not be an error of the network.", args: &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}},
		"ConnectionLost":   {reason: "A lost connection should be an error of the network.", args: request(errors.New("http2: client connection lost")), want: true},
		"BadHeader":        {reason: "A header that net/http refuses to send should not be an error of the network.", args: request(errors.New(`net/http: invalid header field value for "Authorization"`))},
		"BadScheme":        {reason: "A URL that is not of HTTP should not be an error of the network.", args: request(errors.New(`unsupported protocol scheme ""`))},
		"UnknownAuthority": {reason: "An untrusted certificate should not be an error of the network.", args: request(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}})},
		"PlainText":        {reason: "A server without TLS should not be an error of the network.", args: request(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"})},
	}
}

func TestIsNetwork(t *testing.T) {
	for name, tc := range networkCases() {
		t.Run(name, func(t *testing.T) {
			if got := IsNetwork(tc.args); got != tc.want {
				t.Errorf("\n%s\nIsNetwork(%v): want %t, got %t", tc.reason, tc.args, tc.want, got)
			}
		})
	}
}

func TestReasonOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   error
		want   Reason
	}{
		"Own":       {reason: "The error's own reason should be returned.", args: Errorf(Gated, "x"), want: Gated},
		"Wrapped":   {reason: "The reason of a wrapped error should be returned.", args: errors.Wrap(Errorf(Mismatch, "x"), "cannot push"), want: Mismatch},
		"First":     {reason: "The outermost reason should be returned.", args: Errorf(NotFound, "x").Because(Errorf(Internal, "y")), want: NotFound},
		"OverCause": {reason: "An error's reason should be returned whatever its cause is.", args: Errorf(Unauthorized, "x").Because(io.ErrUnexpectedEOF), want: Unauthorized},
		"NoSpace":   {reason: "The reason of a full disk should be NoSpace.", args: &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, want: NoSpace},
		"Quota":     {reason: "The reason of an exhausted quota should be NoSpace.", args: &fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, want: NoSpace},
		"Other":     {reason: "All else is ours.", args: errBoom, want: Internal},
		"Canceled":  {reason: "A canceled request should not be an error of the network.", args: context.Canceled, want: Internal},
		"NoFile":    {reason: "A file that is missing does not come by itself.", args: &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, want: Internal},
	}
	for name, n := range networkCases() {
		if n.want {
			cases["Network"+name] = struct {
				reason string
				args   error
				want   Reason
			}{reason: n.reason, args: n.args, want: Unavailable}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ReasonOf(tc.args)); diff != "" {
				t.Errorf("\n%s\nReasonOf(%v): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}

func TestTransient(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []Reason
		want   bool
	}{
		"Pass": {reason: "Failures of servers, networks and nodes should be transient.", args: []Reason{RateLimited, Unavailable, Evicted}, want: true},
		"Stay": {reason: "Failures that somebody must fix should be permanent.", args: []Reason{Unauthorized, Gated, NotFound, NoSpace, TooOld, Unsupported, Untrusted, DeadlineExceeded, WorkspaceConflict, RegistryChanged, "Other", ""}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, r := range tc.args {
				if got := r.Transient(); got != tc.want {
					t.Errorf("\n%s\n%q.Transient(): want %t, got %t", tc.reason, r, tc.want, got)
				}
			}
		})
	}
}
