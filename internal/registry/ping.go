package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Ping requests GET /v2/ (distribution-spec 1.1, "Determining Support"), with the
// client's credentials where the registry asks for some. It returns an error if the
// registry cannot be reached, is not trusted, refuses the credentials or is none.
// Otherwise it reports whether the registry has accepted the client's credentials:
// one that answers without asking for any, or a client without any, has shown nothing
// about them.
func (c *Client) Ping(ctx context.Context) (accepted bool, err error) {
	defer c.observe("Ping", &err)
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	last := &lastAnswer{next: c.auth}
	r := &remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client: last, Reference: oras.Reference{Registry: c.host}, PlainHTTP: c.plainHTTP,
	}}
	err = r.Ping(ctx)
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return false, outcome.Errorf(outcome.Unsupported,
			"%s has no registry's API at /v2/ (status %d): %s, or ask who runs it, or a proxy before it", c.host, http.StatusNotFound, cmp.Or(c.cures.Host, "correct its host")).Because(err)
	case err != nil:
		return false, c.failed(ctx, err, operation{verb: "read", object: "/v2/"})
	}
	return c.credentials.account() == known && last.authorized, nil
}

// A lastAnswer notes whether the request of the last answer had credentials.
type lastAnswer struct {
	next       remote.Client
	authorized bool
}

// Do implements remote.Client.
func (l *lastAnswer) Do(req *http.Request) (*http.Response, error) {
	rsp, err := l.next.Do(req)
	l.authorized = err == nil && rsp.Request != nil && rsp.Request.Header.Get("Authorization") != ""
	return rsp, err
}

// maxPaths bounds what PathsFor returns.
const maxPaths = 10

// PathsFor returns the paths of the entries that a docker config.json has for a host:
// "" for an entry of the host as a whole, else the beginning of the repositories that
// an entry is for. An entry of another path than one that begins with prefix, or that
// prefix begins with, is left out. They are sorted, and few.
func PathsFor(config []byte, host, prefix string) []string {
	var c dockerConfig
	if len(config) == 0 || json.Unmarshal(config, &c) != nil {
		return nil
	}
	var out []string
	for name := range c.Auths {
		e := &entry{}
		e.host, e.path = splitName(name)
		if e.matches(host, e.path) && (strings.HasPrefix(e.path, prefix) || strings.HasPrefix(prefix, e.path)) {
			out = append(out, e.path)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxPaths)]
}
