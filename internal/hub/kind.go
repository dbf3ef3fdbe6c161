package hub

import (
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Kind is what a repository on a Hub holds. Its value is the word for one in
// messages; with an s it is the kind's folder on the Hub.
type Kind string

const (
	// Model is the kind that a new Client is for.
	Model Kind = "model"

	// Dataset is the kind whose repositories are under /datasets.
	Dataset Kind = "dataset"
)

// Of returns a client for repositories of this kind: what its methods say about
// models then holds for that kind. It shares connections, token and the waits that
// servers asked for with c.
func (c *Client) Of(k Kind) *Client {
	of := *c
	of.kind = k
	return &of
}

// check returns an error unless name is a repository's name, so that no name can
// change the path of a request.
func (k Kind) check(name string) error {
	if !modelPattern.MatchString(name) || strings.Contains(name, "..") || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return outcome.Errorf(outcome.NotFound, "%q is not a %s's name: write organisation/name", name, k)
	}
	return nil
}

// page returns the path of a repository's own pages.
func (k Kind) page(name string) string {
	if k == Dataset {
		return "datasets/" + name
	}
	return name
}

// api returns the URL of a repository's part of the API.
func (c *Client) api(name string, parts ...string) string {
	return c.urlOf(append(append([]string{"api", string(c.kind) + "s"}, strings.Split(name, "/")...), parts...)...)
}

// fileURL returns the URL that serves a file.
func (c *Client) fileURL(name, commit, path string) string {
	parts := append(strings.Split(c.kind.page(name), "/"), "resolve", commit)
	return c.urlOf(append(parts, strings.Split(path, "/")...)...)
}

// subject returns what a request about a revision is about.
func (c *Client) subject(name, revision string) subject {
	return subject{kind: c.kind, model: name, revision: revision}
}
