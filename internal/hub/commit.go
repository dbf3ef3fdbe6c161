package hub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

const (
	// maxHead bounds how many bytes the answer to Commit may have. The Hub's own
	// has some hundred; a mirror that does not know expand lists all files.
	maxHead = 8 << 20

	// maxETag bounds what is kept to ask conditionally (RFC 9110, section 8.8.3).
	maxETag = 256
)

// A Head is a Hub's answer to which commit a revision points to.
type Head struct {
	// Commit in 40 hex digits; empty where NotModified is set.
	Commit string

	// ETag for the next request; empty if the Hub sends none.
	ETag string

	// NotModified says that the answer is the one that had the ETag.
	NotModified bool

	// Rest is how long to send the Hub no request: as long as Retry-After asks, or
	// until RateLimit's window ends if few requests remain in it. It is at most an
	// hour.
	Rest time.Duration
}

// Commit asks which commit a revision of a model points to now, in one request, or
// two to a mirror that does not know a parameter. It does not retry, and takes at
// most 20 seconds. An empty revision is main. The etag is that of an earlier
// answer for the same model and revision, or empty.
//
// The Head's Rest is also set if Commit returns an error.
func (c *Client) Commit(ctx context.Context, model, revision, etag string) (Head, error) {
	if revision == "" {
		revision = "main"
	}
	if err := c.kind.check(model); err != nil {
		return Head{}, err
	}
	asking, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	u := c.api(model, "revision", revision)
	// All else that the Hub knows of a revision is of no use here. Artifactory
	// answers 404 to the parameter.
	head, err := c.headOf(asking, u+"?expand=sha", c.subject(model, revision), etag)
	if errors.Is(err, errNoRoute) && head.Rest == 0 {
		head, err = c.headOf(asking, u, c.subject(model, revision), etag)
	}
	if err != nil && ctx.Err() == nil && asking.Err() != nil {
		err = c.unreachable(ctx, context.DeadlineExceeded)
	}
	return head, err
}

// headOf returns what one URL's answer says of a revision.
func (c *Client) headOf(ctx context.Context, u string, s subject, etag string) (Head, error) {
	req, err := c.request(ctx, u, s)
	if err != nil {
		return Head{}, err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		return Head{}, c.unreachable(ctx, err)
	}
	defer rsp.Body.Close()

	rest := restAsked(rsp.StatusCode, rsp.Header, time.Now())
	if rsp.StatusCode == http.StatusNotModified && etag != "" {
		return Head{ETag: etag, NotModified: true, Rest: rest}, nil
	}
	if err := c.check(rsp, s); err != nil {
		return Head{Rest: rest}, err
	}
	commit, err := c.sha(ctx, rsp.Body, s)
	if err != nil {
		return Head{Rest: rest}, err
	}
	return Head{Commit: commit, ETag: etagOf(rsp.Header), Rest: rest}, nil
}

// sha reads the commit from an answer.
func (c *Client) sha(ctx context.Context, r io.Reader, s subject) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxHead+1))
	if err != nil {
		return "", c.unreachable(ctx, err)
	}
	var info struct {
		SHA string `json:"sha"`
	}
	if len(b) > maxHead || json.Unmarshal(b, &info) != nil || !commitPattern.MatchString(info.SHA) {
		return "", c.noHub(s)
	}
	return info.SHA, nil
}

func etagOf(h http.Header) string {
	etag := h.Get("ETag")
	if len(etag) > maxETag {
		return ""
	}
	return etag
}
