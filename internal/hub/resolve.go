package hub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// maxAnswer bounds how many bytes of JSON one answer may have. A tree's page
// of a thousand files has some 300 KiB.
const maxAnswer = 32 << 20

var (
	commitPattern  = regexp.MustCompile(`^[a-f0-9]{40}$`)
	modelPattern   = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$`)
	licensePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .+_-]{0,63}$`)
)

// A Revision is what a branch, tag or commit of a model stands for.
type Revision struct {
	// Commit in 40 hex digits.
	Commit string

	// License as the Hub names it, for example apache-2.0; empty where it
	// names none.
	License string

	// LastModified is the commit's own date, which never changes; zero where
	// the Hub does not tell. (A model's lastModified, which the Hub tells
	// everywhere, changes with every later commit.)
	LastModified time.Time
}

// Resolve returns what a revision of a model stands for now. An empty revision
// is main.
func (c *Client) Resolve(ctx context.Context, model, revision string) (Revision, error) {
	if revision == "" {
		revision = "main"
	}
	s := c.subject(model, revision)
	if err := c.kind.check(model); err != nil {
		return Revision{}, err
	}
	var info struct {
		SHA      string          `json:"sha"`
		CardData json.RawMessage `json:"cardData"`
		Tags     []string        `json:"tags"`
	}
	if err := c.json(ctx, c.api(model, "revision", revision), s, &info); err != nil {
		return Revision{}, err
	}
	if !commitPattern.MatchString(info.SHA) {
		return Revision{}, c.noHub(s)
	}
	date, err := c.commitDate(ctx, model, info.SHA)
	if err != nil {
		return Revision{}, err
	}
	return Revision{Commit: info.SHA, License: license(info.CardData, info.Tags), LastModified: date}, nil
}

// commitDate returns when a commit was made, or zero where the Hub keeps that
// to itself, as a mirror may. That it could not be asked just now is an error:
// what is made of the date shall not depend on the Hub's health.
func (c *Client) commitDate(ctx context.Context, model, commit string) (time.Time, error) {
	var commits []struct {
		ID   string    `json:"id"`
		Date time.Time `json:"date"`
	}
	err := c.json(ctx, c.api(model, "commits", commit)+"?limit=1", c.subject(model, commit), &commits)
	switch {
	case err == nil && len(commits) > 0 && commits[0].ID == commit:
		return commits[0].Date.UTC(), nil
	case err == nil, errors.Is(err, errNoHub):
		return time.Time{}, nil
	case ctx.Err() == nil && !outcome.ReasonOf(err).Passes():
		return time.Time{}, nil
	}
	return time.Time{}, err
}

// license returns the licence that a model's card names, or that its tags do.
// What does not look like a licence's name is none.
func license(card json.RawMessage, tags []string) string {
	var data struct {
		License any `json:"license"`
	}
	if err := json.Unmarshal(card, &data); err == nil {
		if l, ok := data.License.(string); ok && licensePattern.MatchString(l) {
			return l
		}
	}
	for _, t := range tags {
		if l, ok := strings.CutPrefix(t, "license:"); ok && licensePattern.MatchString(l) {
			return l
		}
	}
	return ""
}

// errNoHub says that what answered does not speak as a Hub does.
var errNoHub = errors.New("the answer is not a Hub's")

func (c *Client) noHub(s subject) error {
	return outcome.Errorf(outcome.Unavailable,
		"what answers at %s for %s is not a Hugging Face Hub: check huggingFace.endpoint and the proxy", c.base, s).Because(errNoHub)
}

// json decodes the answer to a request, which is retried while it fails for a
// transient reason.
func (c *Client) json(ctx context.Context, u string, s subject, into any) error {
	_, err := c.decode(ctx, u, s, maxAnswer, func(r *boundedReader) error { return json.NewDecoder(r).Decode(into) })
	return err
}

// decode has read decode the answer to a request, of which it gets a bounded
// number of bytes, and returns the answer's header. An error of read that is no
// outcome.Error means that the answer is not a Hub's.
func (c *Client) decode(ctx context.Context, u string, s subject, limit int64, read func(*boundedReader) error) (http.Header, error) {
	var header http.Header
	err := c.retry.Do(ctx, s.String(), func() error {
		rsp, err := c.get(ctx, u, s)
		if err != nil {
			return err
		}
		defer rsp.Body.Close()
		err = read(&boundedReader{r: rsp.Body, limit: limit, subject: s})
		var known *outcome.Error
		if err != nil && !errors.As(err, &known) && ctx.Err() == nil {
			return retry.Settled(c.noHub(s))
		}
		header = rsp.Header
		return err
	})
	return header, err
}

// A boundedReader returns an error once an answer has more bytes than its limit.
type boundedReader struct {
	r        io.Reader
	n, limit int64
	subject  subject
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.n += int64(n); b.n > b.limit {
		return 0, outcome.Errorf(outcome.Unsupported, "what the Hub tells of %s is larger than the %d bytes that this program reads", b.subject, b.limit)
	}
	return n, err
}

// nextPage returns the query of the next page, or none on the last page. It is
// taken from a Link header (RFC 8288). Only its query is used: where a mirror
// passes the Hub's own links on, following them would lead away from the
// mirror, and no answer shall choose which host gets asked.
func nextPage(h http.Header) (string, bool) {
	for _, value := range h.Values("Link") {
		for value != "" {
			target, rest, ok := strings.Cut(value, ">")
			_, target, opened := strings.Cut(target, "<")
			if !ok || !opened {
				break
			}
			params, more := cutParams(rest)
			value = more
			if !isNext(params) {
				continue
			}
			if u, err := url.Parse(target); err == nil && u.RawQuery != "" {
				return u.RawQuery, true
			}
		}
	}
	return "", false
}

// cutParams cuts the parameters of one link off the links that follow.
func cutParams(s string) (params, more string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
			return true
		}
	}
	return false
}
