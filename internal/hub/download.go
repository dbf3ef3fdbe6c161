package hub

import (
	"context"
	"io"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// What DownloadOptions leave open.
const (
	// DefaultRange is how many bytes one request asks for.
	DefaultRange = 4 << 20

	// DefaultParallel is how many requests are made side by side for one file.
	DefaultParallel = 4
)

// DownloadOptions say how a file is read.
type DownloadOptions struct {
	// Range is how many bytes one request asks for; DefaultRange if zero.
	Range int64

	// Parallel is how many requests are made side by side; DefaultParallel if
	// zero. With one, the file comes in one stream.
	Parallel int

	// Budget is the memory for what is read ahead, which downloads may share.
	// With none, the file comes in one stream.
	Budget *Budget

	// Logf gets a line for each try that failed and is followed by another; nil
	// for none. It is called from several goroutines.
	Logf func(format string, args ...any)
}

// Download reads a file of a model's commit, as List returned it, from an
// offset on. It returns once the Hub has answered.
//
// The bytes come in order, up to the size that the Hub announced, and are as
// the servers sent them: verify them with the file's Verifier. A file of two ranges
// or more is requested in several concurrent requests, if the Hub supports ranges.
// The Hub itself gets one request; the link that it redirects to serves all ranges
// until it is refused or expires. A range that breaks or stalls is resumed at the
// missing byte, with a limit and growing waits. If a host asks to wait, all
// requests to it do.
//
// The context is for all of the reading. The caller closes the Reader.
func (c *Client) Download(ctx context.Context, model, commit string, f file.File, offset int64, o DownloadOptions) (*Reader, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	src := c.source(model, commit, f)
	if offset < 0 || offset > f.Size {
		return nil, outcome.Errorf(outcome.Internal, "%s has no byte %d", src.subject, offset)
	}
	r := newReader(ctx, src, offset, o)
	if offset == f.Size {
		return r, nil
	}
	if err := r.start(); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// source returns where a file's bytes come from.
func (c *Client) source(model, commit string, f file.File) *source {
	s := c.subject(model, commit)
	s.path = f.Path
	return &source{client: c, subject: s, url: c.fileURL(model, commit, f.Path), size: f.Size, resolving: make(chan struct{}, 1)}
}

// Head returns the first n bytes of a file of a model's commit, as List returned
// it, or all of it if it is shorter. Bytes and retries are as with Download.
func (c *Client) Head(ctx context.Context, model, commit string, f file.File, n int64, logf func(format string, args ...any)) (io.ReadCloser, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	n = max(min(n, f.Size), 0)
	r := newReader(ctx, c.source(model, commit, f), 0, DownloadOptions{Logf: logf})
	if n == 0 {
		return r, nil
	}
	r.head = &segment{span: r.span(0, n)}
	if err := r.head.span.open(r.ctx); err != nil {
		_ = r.Close()
		return nil, err
	}
	return &headReader{Reader: io.LimitReader(r, n), Closer: r}, nil
}

// A headReader ends after the wanted bytes.
type headReader struct {
	io.Reader
	io.Closer
}
