package registry

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// An Entry of a docker config.json.
type Entry struct {
	// Username and Password of an account.
	Username, Password string

	// IdentityToken that tokens are got for.
	IdentityToken string

	// RegistryToken is sent as it is.
	RegistryToken string
}

// EntryFor returns the entry of a user, by the password.
func EntryFor(u User) Entry { return Entry{Username: u.Name, Password: u.Password} }

// IdentityOf returns the entry of a user of a registry with tokens, by an
// identity token in the place of the password.
func IdentityOf(u User) Entry { return Entry{IdentityToken: identityToken(u)} }

// DockerConfig returns a docker config.json with these entries, by the name that
// each is for.
func DockerConfig(entries map[string]Entry) []byte {
	auths := map[string]map[string]string{}
	for name, e := range entries {
		auth := map[string]string{}
		if e.Username != "" || e.Password != "" {
			auth["auth"] = base64.StdEncoding.EncodeToString([]byte(e.Username + ":" + e.Password))
		}
		if e.IdentityToken != "" {
			auth["identitytoken"] = e.IdentityToken
		}
		if e.RegistryToken != "" {
			auth["registrytoken"] = e.RegistryToken
		}
		auths[name] = auth
	}
	b, _ := json.Marshal(map[string]any{"auths": auths}) // Strings can be.
	return b
}

// DockerConfig returns a docker config.json with an entry of the registry's
// first user; nil if there is none.
func (r *Registry) DockerConfig() []byte {
	if len(r.options.Users) == 0 {
		return nil
	}
	return DockerConfig(map[string]Entry{r.Host(): EntryFor(r.options.Users[0])})
}

// Token returns a bearer token of a registry with tokens, for these scopes of a
// user, as an entry has it as its RegistryToken.
func (r *Registry) Token(u User, scopes ...string) (string, error) { return r.tokens.sign(u, scopes) }

// CA returns the authority of a registry with TLS, in PEM; nil without.
func (r *Registry) CA() []byte {
	if r.identity == nil {
		return nil
	}
	return r.identity.ca
}

// ClientCertificate returns a certificate that a registry with TLS takes of a
// client, and its key, in PEM; nil without TLS.
func (r *Registry) ClientCertificate() (certificate, key []byte) {
	if r.identity == nil {
		return nil, nil
	}
	return r.identity.clientCertificate, r.identity.clientKey
}

// DockerConfigFor returns a docker config.json with an entry for each name, whose
// password is that name.
func DockerConfigFor(names ...string) string {
	all := map[string]Entry{}
	for _, n := range names {
		all[n] = Entry{Username: "u", Password: n}
	}
	return string(DockerConfig(all))
}

// keyDockerConfig is the key of a docker config in a Secret
// (https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets).
const keyDockerConfig = ".dockerconfigjson"

// Summary returns a Secret's data with a docker config as the name of its entry and
// the password.
func Summary(t testing.TB, data map[string][]byte) map[string]string {
	t.Helper()
	var out map[string]string
	for key, value := range data {
		if out == nil {
			out = map[string]string{}
		}
		out[key] = string(value)
		if key != keyDockerConfig {
			continue
		}
		var c struct {
			Auths map[string]struct{ Auth []byte }
		}
		if err := json.Unmarshal(value, &c); err != nil || len(c.Auths) != 1 {
			t.Fatalf("want one entry, got %d, %v", len(c.Auths), err)
		}
		for name, e := range c.Auths {
			_, password, _ := strings.Cut(string(e.Auth), ":")
			out[key] = name + " " + password
		}
	}
	return out
}
