package hub

import (
	"context"
	"net/http"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
)

// Download reads a file of a model's commit, as List returned it, from one place up to
// another, as download.Server.Open does. The Hub itself gets one request; the link that
// it redirects to serves all ranges.
func (c *Client) Download(ctx context.Context, model, commit string, f file.File, from, to int64, o download.Options) (*download.Reader, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	s := c.subject(model, commit)
	s.path = f.Path
	return c.server().Open(ctx, download.Object{
		Name:    s.String(),
		URL:     c.fileURL(model, commit, f.Path),
		Size:    f.Size,
		Refused: func(rsp *http.Response) error { return c.refused(rsp, s) },
	}, from, to, o)
}

// server returns the Hub as what files are downloaded from.
func (c *Client) server() *download.Server {
	return &download.Server{
		Name:        "the Hub",
		Client:      c.http,
		UserAgent:   c.userAgent,
		Idle:        c.idle,
		Retry:       c.streams,
		Throttle:    c.throttle,
		Unreachable: c.unreachable,
	}
}
