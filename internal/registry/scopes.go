package registry

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// A challenged client leaves it to the registry's challenge to ask for the
// action delete. The token specification does not know it
// (https://distribution.github.io/distribution/spec/auth/scope), and Quay, which
// wants push for a deletion, gives no token at all to who asks for it.
type challenged struct{ *auth.Client }

// Do implements remote.Client.
func (c challenged) Do(r *http.Request) (*http.Response, error) {
	ctx, host := r.Context(), cmp.Or(r.Host, r.URL.Host)
	scopes := auth.GetScopesForHost(ctx, host)
	if len(scopes) > 0 {
		r = r.WithContext(auth.WithScopesForHost(ctx, host, withoutDelete(scopes)...))
	}
	return c.Client.Do(r)
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
