package hub

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// Headers by which the Hub announces a file that it redirects to
// (huggingface_hub, src/huggingface_hub/constants.py).
const (
	headerLinkedETag = "X-Linked-Etag"
	headerLinkedSize = "X-Linked-Size"
)

const (
	// maxAnnounced bounds how many files are requested one by one.
	maxAnnounced = 20_000

	// announcing is how many of them are requested at the same time.
	announcing = 8
)

// unknownSize is the size of a file whose size the Hub does not list.
const unknownSize = -1

// An announcement is what a Hub says of a file's content. What it does not say,
// or not in a usable form, is empty or unknownSize.
type announcement struct {
	sha256, gitSHA1 string
	size            int64
}

// announcementIn returns what an entry of a listing announces.
func announcementIn(hash string, size *int64) announcement {
	a := announcement{size: unknownSize}
	if size != nil {
		a.size = *size
	}
	return a.withHash(hash)
}

// usable reports whether a file's bytes can be verified by the announcement.
func (a announcement) usable() bool { return a.size >= 0 && (a.sha256 != "" || a.gitSHA1 != "") }

// withHash returns the announcement with a hash in hex, which some mirrors
// prefix with sha256:. What is neither a SHA-256 nor a SHA-1 is left out.
func (a announcement) withHash(hash string) announcement {
	hash = strings.TrimPrefix(hash, "sha256:")
	switch {
	case sha256Pattern.MatchString(hash):
		a.sha256 = hash
	case commitPattern.MatchString(hash):
		a.gitSHA1 = hash
	}
	return a
}

// isMask reports whether a Hub shows a placeholder, 64 asterisks on
// huggingface.co, where the caller may not read the content.
func isMask(hash string) bool { return hash != "" && strings.Trim(hash, "*") == "" }

// reveal completes a listing in which hashes are masked, as the Hub does for a
// caller without access to a gated repository, or missing, as in some mirrors.
// The error has reason Gated where the caller has no access. Nothing that was
// masked is left in what it returns.
func (c *Client) reveal(ctx context.Context, model, commit string, l *listing) ([]file.File, error) {
	if err := c.mayRead(ctx, model, commit, l); err != nil {
		return nil, err
	}
	files, hidden := make([]file.File, len(l.files)), 0
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(announcing)
	for i, f := range l.files {
		files[i] = f.File
		if !f.hidden {
			continue
		}
		if hidden++; hidden > maxAnnounced {
			break
		}
		group.Go(func() (err error) {
			files[i], err = c.announcedFile(gctx, model, commit, f.Path)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if hidden > maxAnnounced {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the Hub at %s lists more than %d files of %s without a hash, more than this program asks for one by one: use another huggingFace.endpoint",
			c.base.Host, maxAnnounced, l.subject)
	}
	return files, nil
}

// mayRead asks for the first file with a masked hash, if there is one: one
// answer shows whether the caller has access to the content.
func (c *Client) mayRead(ctx context.Context, model, commit string, l *listing) error {
	i := slices.IndexFunc(l.files, func(f listed) bool { return f.masked })
	if i < 0 {
		return nil
	}
	_, err := c.announced(ctx, model, commit, l.files[i].Path)
	return err
}

// announcedFile returns a file as the Hub announces it in the answer to a request.
func (c *Client) announcedFile(ctx context.Context, model, commit, path string) (file.File, error) {
	a, err := c.announced(ctx, model, commit, path)
	if err == nil && !a.usable() {
		err = outcome.Errorf(outcome.Unsupported,
			"the Hub at %s tells no usable size or hash of file %q of %s, neither in its list nor for the file: use another huggingFace.endpoint",
			c.base.Host, clip(path), c.subject(model, commit))
	}
	return file.File{Path: path, Size: a.size, SHA256: a.sha256, GitSHA1: a.gitSHA1}, err
}

// announced asks what the Hub says of one file, without asking for the file.
func (c *Client) announced(ctx context.Context, model, commit, path string) (announcement, error) {
	s := c.subject(model, commit)
	s.path = path
	var a announcement
	err := c.retry.Do(ctx, s.String(), func() error {
		if err := c.throttle.Wait(ctx, c.base.Host); err != nil {
			return errors.Wrapf(err, "cannot ask for %s", s)
		}
		rsp, err := c.head(ctx, c.fileURL(model, commit, path), s) //nolint:bodyclose // It is closed there.
		if err != nil {
			return err
		}
		a = announcementOf(rsp)
		return nil
	})
	return a, err
}

// announcementOf reads the headers of an answer about a file. A redirect to the
// content announces it by headers of its own.
func announcementOf(rsp *http.Response) announcement {
	hash, size := rsp.Header.Get(headerLinkedETag), rsp.Header.Get(headerLinkedSize)
	if rsp.StatusCode == http.StatusOK {
		if hash == "" {
			hash = rsp.Header.Get("ETag")
		}
		if size == "" {
			size = rsp.Header.Get("Content-Length")
		}
	}
	a := announcement{size: unknownSize}.withHash(strings.Trim(strings.TrimPrefix(hash, "W/"), `"`))
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		a.size = n
	}
	return a
}

// head returns the answer to a HEAD request: a success, or a redirect
// to a file's content. It does not retry.
func (c *Client) head(ctx context.Context, u string, s subject) (*http.Response, error) {
	req, err := c.request(ctx, u, s)
	if err != nil {
		return nil, err
	}
	req.Method = http.MethodHead
	client := *c.http
	client.CheckRedirect = c.stayBeforeContent
	rsp, err := client.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	_ = rsp.Body.Close()
	switch status := rsp.StatusCode; {
	case status == http.StatusOK, status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return rsp, nil
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return nil, retry.Permanent(outcome.Errorf(outcome.Unsupported,
			"the Hub at %s hides hashes of files of %s and does not answer HEAD requests: use another huggingFace.endpoint", c.base.Host, s.repository()))
	case c.withoutAccess(rsp):
		return nil, c.gated(s)
	}
	return nil, c.refused(rsp, s)
}

// withoutAccess reports whether a file is refused whose repository was listed,
// by a mirror that leaves out the header X-Error-Code.
func (c *Client) withoutAccess(rsp *http.Response) bool {
	if rsp.Header.Get("X-Error-Code") != "" {
		return false
	}
	return rsp.StatusCode == http.StatusForbidden || rsp.StatusCode == http.StatusUnauthorized && !c.hasToken
}

// stayBeforeContent follows redirects inside the Hub, as for a repository that
// was renamed, but not the one to a file's content.
func (c *Client) stayBeforeContent(req *http.Request, via []*http.Request) error {
	away := req.URL.Scheme != c.base.Scheme || !strings.EqualFold(req.URL.Host, c.base.Host)
	if away || req.Response.Header.Get(headerLinkedETag) != "" {
		return http.ErrUseLastResponse
	}
	return connection.CheckRedirect(req, via)
}
