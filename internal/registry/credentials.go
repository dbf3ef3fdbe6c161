package registry

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An account says what is known about the credentials, for messages.
type account int

const (
	anonymous account = iota // No credentials were given.
	stranger                 // Some were, but none for this registry.
	known                    // Some were for this registry.
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
	rank, alias int    // How it is for what was asked for.

	credential auth.Credential
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
	e.credential = auth.Credential{
		Username: in.Username, Password: in.Password,
		RefreshToken: in.IdentityToken, AccessToken: in.RegistryToken,
	}
	return nil
}

// credentialFor returns the credential that a docker config has for a
// repository, which may be empty, at a host.
func credentialFor(host, repository string, config []byte) (auth.Credential, account, error) {
	e, err := choose(host, repository, config)
	switch {
	case len(config) == 0:
		return auth.EmptyCredential, anonymous, nil
	case err != nil, e == nil:
		return auth.EmptyCredential, stranger, err
	}
	return e.credential, known, nil
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
