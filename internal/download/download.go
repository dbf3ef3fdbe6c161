// Package download reads objects from HTTP servers: several ranges side by side where
// that is faster, resumed where a stream breaks or stalls, and through links that a
// server redirects to for as long as they are valid. Its errors are outcome.Errors.
package download

import (
	"context"
	"net/http"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// What Options leave open.
const (
	// DefaultRange is how many bytes one request asks for.
	DefaultRange = 4 << 20

	// DefaultParallel is how many requests are made side by side for one object.
	DefaultParallel = 4

	// DefaultIdle is how long a stream may send nothing.
	DefaultIdle = 30 * time.Second
)

// Options say how an object is read.
type Options struct {
	// Range is how many bytes one request asks for; DefaultRange if zero.
	Range int64

	// Parallel is how many requests are made side by side, if Ahead is nil;
	// DefaultParallel if zero. With one, the object comes in one stream.
	Parallel int

	// Ahead limits the requests that are made beside each object's own stream, of all
	// downloads that share it, each of which has a part of them. It counts the bytes of all
	// of these. It must be used with one Budget only.
	Ahead *parallel.Limit

	// Budget is the memory for what is read ahead, which downloads may share.
	// With none, the object comes in one stream.
	Budget *Budget

	// Logf gets a line for each try that failed and is followed by another; nil
	// for none. It is called from several goroutines.
	Logf func(format string, args ...any)
}

// A Server has objects. It is safe for concurrent use.
type Server struct {
	// Name of the server in messages, for example the Hub, or a host.
	Name string

	// Client for all requests. It must not change bodies: its transport must have
	// DisableCompression.
	Client *http.Client

	// UserAgent that requests name themselves by.
	UserAgent string

	// Idle is how long a stream may send nothing, or next to nothing.
	Idle time.Duration

	// Retry is the policy of streams that break. It should have no limit of the time
	// of all tries: each has Idle to bring bytes, so that their number bounds it.
	Retry retry.Policy

	// Throttle holds requests back for as long as their host has asked for. It must not
	// be nil.
	Throttle *connection.Throttle

	// Unreachable returns the error of a request without an answer. It must not repeat
	// the cause's text, which may hold a signed link.
	Unreachable func(ctx context.Context, err error) error
}

// RetryPolicy returns the policy of streams that break.
func RetryPolicy() retry.Policy {
	p := retry.Default()
	p.MaxElapsed = 0
	return p
}

// An Object is what a server has under a URL.
type Object struct {
	// Name of the object in messages.
	Name string

	// URL of the object.
	URL string

	// Header of requests to the server, but not to links that it redirects to, for
	// example a condition that pins a version.
	Header http.Header

	// Size in bytes. Another one is an error with reason Mismatch, if Changed is nil.
	Size int64

	// Encoded accepts bytes that the server says are encoded, as they are.
	Encoded bool

	// Sign adds the credentials of now to a request, whose headers are all set; nil for
	// none. It is not called for links.
	Sign func(*http.Request) error

	// Accept returns an error if a successful answer of the server itself is not of the
	// pinned version; nil for no check. Beside it, the strong ETag of each host must
	// stay the same.
	Accept func(*http.Response) error

	// Changed returns the error of an answer of a host with another strong ETag than it
	// sent before, or with another size. Nil for one that is transient, since another
	// link may lead to the object.
	Changed func(host string) error

	// Refused returns the error of an answer with another status.
	Refused func(*http.Response) error
}

// Open reads an object from one place up to another, which must be within its size. It
// returns once the server has answered.
//
// The bytes come in order, and are as the servers sent them: they must be verified.
// What is of two ranges or more is requested in several concurrent requests, if the
// server supports ranges. The server itself gets one request if it redirects; the link
// then serves all ranges until it is refused or expires. A range that breaks or stalls
// is resumed at the missing byte, with a limit and growing waits. If a host asks to
// wait, all requests to it do.
//
// The context is for all of the reading. The caller closes the Reader.
func (s *Server) Open(ctx context.Context, o Object, from, to int64, opt Options) (*Reader, error) {
	if from < 0 || from > to || to > o.Size {
		return nil, outcome.Errorf(outcome.Internal, "%s has no bytes from %d to %d", o.Name, from, to)
	}
	r := newReader(ctx, &source{server: s, object: o, size: o.Size, resolving: make(chan struct{}, 1)}, from, to, opt)
	if from == to {
		return r, nil
	}
	if err := r.start(); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}
