package registry

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// A challenged client leaves it to the registry's challenge to ask for the
// action delete. The token specification does not know it
// (https://distribution.github.io/distribution/spec/auth/scope), and Quay, which
// wants push for a deletion, gives no token at all to who asks for it.
type challenged struct {
	*auth.Client

	pushes string // The repository that pushing to is asked for; empty for none.
}

// Do implements remote.Client. A read for which no token to push is given is made
// with one to pull.
func (c challenged) Do(r *http.Request) (*http.Response, error) {
	ctx, host := r.Context(), cmp.Or(r.Host, r.URL.Host)
	scopes := withoutDelete(auth.GetScopesForHost(ctx, host))
	if len(scopes) > 0 {
		r = r.WithContext(auth.WithScopesForHost(ctx, host, scopes...))
	}
	if c.pushes == "" {
		return c.Client.Do(r)
	}
	push := auth.ScopeRepository(c.pushes, auth.ActionPull, auth.ActionPush)
	rsp, err := c.Client.Do(r.WithContext(auth.AppendScopesForHost(r.Context(), host, push)))
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !refusesScope(rsp, err) {
		return rsp, err
	}
	if rsp != nil {
		_ = rsp.Body.Close()
	}
	return c.Client.Do(r)
}

// refusesScope reports whether credentials that are good did not get a token for
// what was asked for, or one that allows nothing. Bad ones are not tried again:
// accounts are locked for that.
func refusesScope(rsp *http.Response, err error) bool {
	var refusal *errcode.ErrorResponse
	if errors.As(err, &refusal) {
		return refusal.StatusCode == http.StatusForbidden
	}
	return err == nil && (rsp.StatusCode == http.StatusUnauthorized || rsp.StatusCode == http.StatusForbidden) &&
		strings.HasPrefix(rsp.Request.Header.Get("Authorization"), "Bearer ")
}

// withoutDelete returns scopes without the action delete.
func withoutDelete(scopes []string) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		resource, actions := s[:strings.LastIndex(s, ":")+1], strings.Split(s[strings.LastIndex(s, ":")+1:], ",")
		actions = slices.DeleteFunc(actions, func(a string) bool { return a == auth.ActionDelete })
		if len(actions) > 0 {
			out = append(out, resource+strings.Join(actions, ","))
		}
	}
	return out
}
