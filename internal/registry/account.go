package registry

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"

	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A Credential is an account at a registry. The zero value is none.
type Credential struct {
	// Username and Password of the account.
	Username, Password string

	// IdentityToken and RegistryToken are what a docker config.json may have in place
	// of a password (https://docs.docker.com/reference/cli/docker/login).
	IdentityToken, RegistryToken string

	// foreign means that there are credentials, and none of them for the registry.
	foreign bool
}

// CredentialIn returns the credential that a docker config.json has for a repository,
// which may be empty, at a host. The zero value is none.
func CredentialIn(config []byte, host, repository string) (Credential, error) {
	e, err := choose(host, repository, config)
	switch {
	case len(config) == 0:
		return Credential{}, nil
	case err != nil, e == nil:
		return Credential{foreign: true}, err
	}
	return Credential{
		Username: e.credential.Username, Password: e.credential.Password,
		IdentityToken: e.credential.RefreshToken, RegistryToken: e.credential.AccessToken,
	}, nil
}

// oras returns the credential as oras-go has it.
func (c Credential) oras() auth.Credential {
	return auth.Credential{Username: c.Username, Password: c.Password, RefreshToken: c.IdentityToken, AccessToken: c.RegistryToken}
}

// account returns what is known about the credential.
func (c Credential) account() account {
	switch {
	case c.oras() != auth.EmptyCredential:
		return known
	case c.foreign:
		return otherRegistry
	}
	return anonymous
}

// refusalPatience is how long a client waits for another credential once the registry
// refuses one that it accepted before: a Secret that has changed reaches a Pod's volume
// within 90 seconds (kubelet, syncFrequency and its jitter), and who changes both the
// account and the Secret needs some time between them.
const refusalPatience = 3 * time.Minute

// maxRefused bounds how many credentials a request is made with.
const maxRefused = 5

// credentials give a client its credential as it is now.
type credentials struct {
	host string // As in requests.
	read func(ctx context.Context) (Credential, error)
	logf func(format string, args ...any)

	// patience is how long to wait for another credential than one that is refused; 0
	// for credentials that never change.
	patience time.Duration

	mu       sync.Mutex
	last     Credential
	accepted map[requestKind]bool // For which the registry took one.
}

// newCredentials returns the credentials of a client's options.
func newCredentials(o Options) (*credentials, error) {
	c := &credentials{host: oras.Reference{Registry: o.Host}.Host(), logf: o.Retry.Logf, accepted: map[requestKind]bool{}}
	if o.Credential != nil {
		c.read = o.Credential
		if !o.SingleTry {
			c.patience = refusalPatience
		}
		return c, nil
	}
	var err error
	if c.last, err = CredentialIn(o.DockerConfig, o.Host, o.Repository); err != nil {
		return nil, err
	}
	fixed := c.last
	c.read = func(context.Context) (Credential, error) { return fixed, nil }
	return c, nil
}

// now returns the credential.
func (c *credentials) now(ctx context.Context) (Credential, error) {
	if c.read == nil {
		return c.last, nil
	}
	got, err := c.read(ctx)
	if err != nil {
		return Credential{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = got
	return got, nil
}

// account returns what is known about the credential that was used last.
func (c *credentials) account() account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.account()
}

// forHost implements auth.CredentialFunc. No other host gets a credential.
func (c *credentials) forHost(ctx context.Context, host string) (auth.Credential, error) {
	if host != c.host {
		return auth.EmptyCredential, nil
	}
	got, err := c.now(ctx)
	return got.oras(), err
}

// token returns what a request is authorized with that needs no token server: the
// password or the registry token, as it is now. It reports whether there is one.
func (c *credentials) token(ctx context.Context, host string, scheme auth.Scheme) (string, bool) {
	if host != c.host {
		return "", false
	}
	got, err := c.now(ctx)
	switch {
	case err != nil:
		return "", false
	case scheme == auth.SchemeBasic && got.Username != "":
		return base64.StdEncoding.EncodeToString([]byte(got.Username + ":" + got.Password)), true
	case scheme == auth.SchemeBearer && got.RegistryToken != "":
		return got.RegistryToken, true
	}
	return "", false
}

// authorized makes a request of a kind. If the registry refuses the credential, which it
// accepted for such requests before, it waits until there is another one and makes the
// request again. What the last one came to is what it returns.
func (c *credentials) authorized(ctx context.Context, kind requestKind, request func() (*http.Response, error)) (*http.Response, error) {
	if c == nil || c.patience == 0 {
		return request()
	}
	for range maxRefused {
		was, err := c.now(ctx)
		if err != nil {
			return nil, err
		}
		rsp, err := request()
		if c.note(kind, rsp, err) || !refusesCredential(rsp, err) || !c.waitForOther(ctx, kind, was) {
			return rsp, err
		}
		if rsp != nil {
			_ = rsp.Body.Close()
		}
	}
	return request()
}

// note notes that the registry accepts the credential, and reports whether it does. Who
// may write may also read.
func (c *credentials) note(kind requestKind, rsp *http.Response, err error) bool {
	if err != nil || rsp.StatusCode >= http.StatusBadRequest && rsp.StatusCode != http.StatusNotFound {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted[kind], c.accepted[requestKind{kind.repository, false}] = true, true
	return true
}

// waitForOther waits until there is another credential, if the registry accepted one
// for such requests before, and reports whether there is.
func (c *credentials) waitForOther(ctx context.Context, kind requestKind, was Credential) bool {
	c.mu.Lock()
	accepted := c.accepted[kind]
	c.mu.Unlock()
	if !accepted {
		return false
	}
	if now, err := c.now(ctx); c.logf != nil && err == nil && now == was {
		c.logf("registry %s refuses the credentials that it accepted before: waiting up to %s for others", c.host, c.patience)
	}
	return connection.Renewed(ctx, c.patience, was, c.now)
}

// refusesCredential reports whether a registry, or its token server, refuses a
// credential, and not a permission.
func refusesCredential(rsp *http.Response, err error) bool {
	if rsp != nil {
		return rsp.StatusCode == http.StatusUnauthorized && rsp.Request.Header.Get("Authorization") != "" &&
			!strings.Contains(rsp.Header.Get("WWW-Authenticate"), "insufficient_scope")
	}
	var refusal *errcode.ErrorResponse
	return errors.As(err, &refusal) && refusal.StatusCode == http.StatusUnauthorized
}

// A requestKind is a kind of requests that a registry allows an account together.
type requestKind struct {
	repository string
	write      bool
}

// kindOfRequest returns the kind of a request for a repository.
func kindOfRequest(method, repository string) requestKind {
	return requestKind{repository, method != http.MethodGet && method != http.MethodHead}
}
