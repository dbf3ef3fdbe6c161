package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// Keys of the Secret: of type kubernetes.io/basic-auth
// (https://kubernetes.io/docs/concepts/configuration/secret/#basic-authentication-secret),
// or a bearer token.
const (
	keyUsername = "username"
	keyPassword = "password"
	keyToken    = "token"
)

// credentials are those of a Secret, as it is now.
type credentials struct {
	secret *bucket.Secret
	host   string // That the Secret must list.
}

var _ bucket.Authorizer = &credentials{}

// Credentials implements bucket.Authorizer. It returns the header Authorization, which must
// be for the server.
func (c *credentials) Credentials(context.Context) (string, error) {
	header, err := c.header()
	if err == nil {
		err = c.secret.CheckHost(field, c.host)
	}
	if err != nil {
		return "", err
	}
	return header, nil
}

// header returns the header Authorization.
func (c *credentials) header() (string, error) {
	values := map[string]string{}
	for _, key := range []string{keyUsername, keyPassword, keyToken} {
		v, err := c.secret.Text(key)
		if err != nil {
			return "", err
		}
		values[key] = v
	}
	username, password, token := values[keyUsername], values[keyPassword], values[keyToken]
	switch {
	case token != "" && username == "" && password == "":
		return "Bearer " + token, nil
	case token != "" || username == "" || password == "":
		return "", outcome.Errorf(outcome.ConfigInvalid, "the Secret that %s.credentialsSecretRef names must have either the keys username and password, or the key token", field)
	case strings.Contains(username, ":"):
		// RFC 7617, section 2.
		return "", outcome.Errorf(outcome.ConfigInvalid, "key username of the Secret that %s.credentialsSecretRef names has a colon, which no name of a user can have: correct it", field)
	}
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(username, password)
	return req.Header.Get("Authorization"), nil
}

// Authorize implements bucket.Authorizer.
func (c *credentials) Authorize(req *http.Request) error {
	value, err := c.Credentials(req.Context())
	if err == nil {
		req.Header.Set("Authorization", value)
	}
	return err
}
