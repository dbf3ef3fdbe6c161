package hub

import (
	"context"
	"io"
)

// Head returns the first n bytes of a file of a model's commit, as List returned
// it, or all of it where it has no more. What Download says of its bytes and of
// its tries holds for these, too.
func (c *Client) Head(ctx context.Context, model, commit string, f File, n int64, logf func(format string, args ...any)) (io.ReadCloser, error) {
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

// A headReader reads no more than is wanted.
type headReader struct {
	io.Reader
	io.Closer
}
