package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/card"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/license"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// maxAnswer bounds how many bytes of JSON one answer may have. A tree's page
// of a thousand files has some 300 KiB.
const maxAnswer = 32 << 20

var (
	commitPattern = regexp.MustCompile(`^[a-f0-9]{40}$`)
	modelPattern  = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$`)
)

// A Revision is what a branch, tag or commit of a model points to.
type Revision struct {
	// Commit in 40 hex digits.
	Commit string

	// License is the SPDX expression of the licences that the Hub names, for
	// example Apache-2.0; empty where it names none.
	License string

	// Name of the model as the Hub answers it, which differs from the requested name
	// if the model was renamed. Empty if the Hub does not report it.
	Name string

	// Model is what the Hub tells about the model. It is not bounded yet.
	Model filelist.Model

	// LastModified is the commit's own date, which never changes; zero if the Hub
	// does not report it. (A model's lastModified changes with every later commit.)
	LastModified time.Time
}

// Resolve returns what a revision of a model points to now. An empty revision
// is main.
func (c *Client) Resolve(ctx context.Context, model, revision string) (Revision, error) {
	if revision == "" {
		revision = "main"
	}
	s := c.subject(model, revision)
	if err := c.kind.check(model); err != nil {
		return Revision{}, err
	}
	var told info
	if err := c.json(ctx, c.api(model, "revision", revision), s, &told); err != nil {
		return Revision{}, err
	}
	if !commitPattern.MatchString(told.SHA) {
		return Revision{}, c.noHub(s)
	}
	date, err := c.commitDate(ctx, model, told.SHA)
	if err != nil {
		return Revision{}, err
	}
	if !modelPattern.MatchString(told.ID) {
		told.ID = ""
	}
	return Revision{Commit: told.SHA, Name: told.ID, License: licenseOf(told), Model: told.model(), LastModified: date}, nil
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
	case ctx.Err() == nil && !outcome.ReasonOf(err).Transient():
		return time.Time{}, nil
	}
	return time.Time{}, err
}

// licenseTags are the words in those of a model's tags that name licences.
type licenseTags []string

// UnmarshalJSON implements json.Unmarshaler. Other tags are left out.
func (l *licenseTags) UnmarshalJSON(b []byte) error {
	*l = nil
	_ = readArray(json.NewDecoder(bytes.NewReader(b)), func(element json.RawMessage) error {
		var tag string
		_ = json.Unmarshal(element, &tag) // Only a text is a tag.
		if word, ok := strings.CutPrefix(tag, "license:"); ok && len(*l) < card.MaxWords {
			*l = append(*l, word)
		}
		return nil
	})
	return nil
}

// licenseOf returns the SPDX expression of the licences that a model's card
// names, or that its tags do.
func licenseOf(i info) string {
	return cmp.Or(license.FromHub(i.Card.of.License...), license.FromHub(i.Tags...))
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

// decode calls read with a bounded number of bytes of the answer to a request, and
// returns the answer's header. An error of read other than an outcome.Error means
// that the answer is not a Hub's.
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
			return retry.Permanent(c.noHub(s))
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
