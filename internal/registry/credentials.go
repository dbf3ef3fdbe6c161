package registry

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An account says what is known about the credentials, for messages.
type account int

const (
	anonymous     account = iota // No credentials were given.
	otherRegistry                // Some were, but none for this registry.
	known                        // Some were for this registry.
)

// A dockerConfig is the one part of a config.json that is used
// (https://docs.docker.com/reference/cli/docker/login). Nothing can make this
// program run the credential helpers that the other parts may name.
type dockerConfig struct {
	Auths map[string]json.RawMessage `json:"auths"`
}

// An entry of a docker config.
type entry struct {
	name string          // As the config has it.
	raw  json.RawMessage // What it holds.

	host, path  string // Of the name.
	rank, alias int    // How specific it is for the requested scope; lower is better.

	credential auth.Credential
	trimmed    bool // Another reader, which does not trim values, reads other ones.
}

func (e *entry) empty() bool { return e.credential == auth.EmptyCredential }

// decode reads the entry, which is one for a host.
func (e *entry) decode(host string) error {
	var in struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	}
	if json.Unmarshal(e.raw, &in) != nil {
		return unreadable("has an entry for " + host + " that is not what docker writes")
	}
	if in.Auth != "" {
		user, password, ok := decodeAuth(in.Auth)
		if !ok {
			return unreadable("has an auth for " + host + " that is not the base64 of username:password")
		}
		in.Username, in.Password = user, password
	}
	said := auth.Credential{
		Username: in.Username, Password: in.Password,
		RefreshToken: in.IdentityToken, AccessToken: in.RegistryToken,
	}
	// Values that were read from files end in newlines, which none of them holds.
	e.credential = auth.Credential{
		Username: strings.TrimSpace(in.Username), Password: strings.TrimRight(in.Password, "\r\n"),
		RefreshToken: strings.TrimSpace(in.IdentityToken), AccessToken: strings.TrimSpace(in.RegistryToken),
	}
	e.trimmed = e.credential != said
	return nil
}

// encode returns the entry so that any reader takes it for what this one does.
func (e *entry) encode() (json.RawMessage, error) {
	if !e.trimmed {
		return e.raw, nil
	}
	out := map[string]string{}
	add := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	add("identitytoken", e.credential.RefreshToken)
	add("registrytoken", e.credential.AccessToken)
	switch name, password := e.credential.Username, e.credential.Password; {
	case strings.Contains(name, ":"), strings.HasSuffix(password, "\x00"):
		// Which auth could not hold.
		add("username", name)
		add("password", password)
	case name+password != "":
		add("auth", base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
	}
	return json.Marshal(out)
}

func unreadable(what string) error {
	return outcome.Errorf(outcome.Unauthorized,
		"the registry's credentials cannot be used: the Secret %s; make it with kubectl create secret docker-registry", what)
}

func decodeAuth(s string) (user, password string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		// Some tools leave the padding out.
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimSpace(s))
	}
	if err != nil {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(b), ":")
	return user, strings.TrimRight(password, "\x00"), ok
}

// A challenged client leaves it to the registry's challenge to ask for the
// action delete. The token specification does not know it
// (https://distribution.github.io/distribution/spec/auth/scope), and Quay, which
// wants push for a deletion, gives no token at all to who asks for it.
type challenged struct {
	*auth.Client

	credentials *credentials
	name        string // The repository's.
	pushes      string // The repository that tokens must allow to push to; empty for none.
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
		return c.authorized(r)
	}
	push := auth.ScopeRepository(c.pushes, auth.ActionPull, auth.ActionPush)
	rsp, err := c.authorized(r.WithContext(auth.AppendScopesForHost(r.Context(), host, push)))
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !refusesScope(rsp, err) {
		return rsp, err
	}
	if rsp != nil {
		_ = rsp.Body.Close()
	}
	return c.Client.Do(r)
}

// authorized makes a request, and makes it again with another credential if there is
// one after a refusal. A request whose body cannot be sent again is made once.
func (c challenged) authorized(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return c.Client.Do(r)
	}
	return c.credentials.authorized(r.Context(), kindOfRequest(r.Method, c.name), func() (*http.Response, error) {
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			var err error
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		return c.Client.Do(again)
	})
}

// refusesScope reports whether credentials that are good did not get a token for
// the requested scope, or one that allows nothing. Bad ones are not tried again:
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
