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

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// credentialFor returns the credential that a docker config has for a host. It
// reads no other entry, so that a broken one does no harm. (oras-go's own
// reader decodes all of them, and puts one that it cannot read, password and
// all, into its error.)
func credentialFor(host string, config []byte) (auth.Credential, account, error) {
	if len(config) == 0 {
		return auth.EmptyCredential, anonymous, nil
	}
	var c dockerConfig
	if json.Unmarshal(config, &c) != nil {
		return auth.EmptyCredential, anonymous, unreadable("is not the JSON of a docker config.json")
	}
	raw, ok := entryFor(host, c.Auths)
	if !ok {
		return auth.EmptyCredential, stranger, nil
	}
	var e authEntry
	if json.Unmarshal(raw, &e) != nil {
		return auth.EmptyCredential, stranger, unreadable("has an entry for " + host + " that is not what docker writes")
	}
	if e.Auth != "" {
		user, password, ok := decodeAuth(e.Auth)
		if !ok {
			return auth.EmptyCredential, stranger, unreadable("has an auth for " + host + " that is not the base64 of username:password")
		}
		e.Username, e.Password = user, password
	}
	cred := auth.Credential{
		Username: e.Username, Password: e.Password,
		RefreshToken: e.IdentityToken, AccessToken: e.RegistryToken,
	}
	if cred == auth.EmptyCredential {
		return cred, stranger, nil
	}
	return cred, known, nil
}

func unreadable(what string) error {
	return outcome.Errorf(outcome.Unauthorized,
		"the registry's credentials cannot be used: the Secret %s; make it with kubectl create secret docker-registry", what)
}

// entryFor returns the entry for a host. Docker wrote https://host/v1/ once,
// and still does for its own Hub. The plain host comes first.
func entryFor(host string, auths map[string]json.RawMessage) (json.RawMessage, bool) {
	for _, h := range aliases(host) {
		for _, scheme := range []string{"", "https://", "http://"} {
			for _, path := range []string{"", "/", "/v2", "/v2/", "/v1", "/v1/"} {
				if raw, ok := auths[scheme+h+path]; ok {
					return raw, true
				}
			}
		}
	}
	return nil, false
}

// aliases are the names that Docker Hub has, for which the config's name is
// not the host's.
func aliases(host string) []string {
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return []string{host, "index.docker.io", "docker.io", "registry-1.docker.io"}
	}
	return []string{host}
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
