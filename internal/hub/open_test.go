package hub

import (
	"context"
	"io"
)

// Open returns the bytes of a file at a commit, from the start. It tries again
// until the Hub answers, within limits; once bytes flow, a broken stream is an
// error of Read, with reason Unavailable. The bytes are as the server sent
// them: hold them against the file's Verifier.
func (c *Client) Open(ctx context.Context, model, commit, path string) (io.ReadCloser, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	s := c.subject(model, commit)
	s.path = path
	u := c.fileURL(model, commit, path)
	var rc io.ReadCloser
	err := c.retry.Do(ctx, s.String(), func() error {
		rsp, err := c.get(ctx, u, s) //nolint:bodyclose // The caller closes it.
		if err != nil {
			return err
		}
		rc = rsp.Body
		return nil
	})
	return rc, err
}
