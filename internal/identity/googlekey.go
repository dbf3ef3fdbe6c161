package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"path/filepath"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// googleOAuth issues tokens for the keys of service accounts
	// (https://developers.google.com/identity/protocols/oauth2/service-account).
	googleOAuth = "https://oauth2.googleapis.com/token"

	grantBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer" //nolint:gosec // A name.

	// assertionLife is how long a signed request for a token is valid: the longest that
	// Google takes.
	assertionLife = time.Hour
)

// googleOAuths are the token_uri that keys of Google's have and had. All are answered
// alike, so that only googleOAuth is asked.
var googleOAuths = map[string]bool{
	"": true, googleOAuth: true, "https://accounts.google.com/o/oauth2/token": true, "https://www.googleapis.com/oauth2/v4/token": true,
}

var atGoogleOAuth = endpoint{name: "Google's OAuth server", cure: "check that the key in gcloud-application-credentials.json was not deleted or disabled, and this machine's clock"}

// newGoogleAccount returns what gets tokens for the account of credentials.
func newGoogleAccount(credentials []byte, folder string, read func(key string) ([]byte, error), c *client) (issuer, error) {
	const where = "gcloud-application-credentials.json of the source's Secret"
	var kind struct {
		Type string `json:"type"`
	}
	if answerLimits.JSON(credentials, &kind) != nil {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s is no JSON of credentials: write the key of a service account as gcloud iam service-accounts keys create has it", where)
	}
	switch kind.Type {
	case "service_account":
		return parseServiceAccount(credentials, where, c)
	case "external_account":
		config, err := parseExternalAccount(credentials, where)
		if err != nil {
			return nil, err
		}
		if folder != "" && filepath.Dir(config.Source.File) != filepath.Clean(folder) {
			// Another file of the Pod is not the tenant's to send anywhere.
			return nil, outcome.Errorf(outcome.ConfigInvalid, "%s reads the workload's token from another file than one in %s: write the token into the key token of the same Secret, and %s/token as credential_source.file", where, folder, folder)
		}
		config.read = func() ([]byte, error) { return read(filepath.Base(config.Source.File)) }
		return &federated{client: c, scope: scopeGCS, config: func() (*externalAccount, error) { return config, nil }}, nil
	}
	return nil, outcome.Errorf(outcome.ConfigInvalid, "%s has another type than service_account or external_account", where)
}

// A serviceAccount is an account with a key.
type serviceAccount struct {
	client *client

	email, keyID string
	key          *rsa.PrivateKey
}

// parseServiceAccount returns the account of a key that was created for it.
func parseServiceAccount(b []byte, where string, c *client) (*serviceAccount, error) {
	var a struct {
		Email    string `json:"client_email"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		TokenURI string `json:"token_uri"`
		Universe string `json:"universe_domain"`
	}
	invalid := func(what string) error {
		return outcome.Errorf(outcome.ConfigInvalid, "%s %s: create it with gcloud iam service-accounts keys create", where, what)
	}
	if answerLimits.JSON(b, &a) != nil || a.Email == "" {
		return nil, invalid("is no key of a service account")
	}
	if !googleOAuths[a.TokenURI] || a.Universe != "" && a.Universe != "googleapis.com" {
		return nil, invalid("has another token_uri than " + googleOAuth)
	}
	block, _ := pem.Decode([]byte(a.Key))
	if block == nil {
		return nil, invalid("has a private_key that is not in PEM form")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, invalid("has a private_key that is no RSA key in PKCS #8 form")
	}
	return &serviceAccount{client: c, email: a.Email, keyID: a.KeyID, key: key}, nil
}

// issue implements issuer.
func (s *serviceAccount) issue(ctx context.Context) (token, error) {
	asked := s.client.now()
	signed, err := s.assertion(asked)
	if err != nil {
		return token{}, err
	}
	body, err := s.client.post(ctx, atGoogleOAuth, googleOAuth, url.Values{"grant_type": {grantBearer}, "assertion": {signed}})
	if err != nil {
		return token{}, err
	}
	return accessToken(atGoogleOAuth, body, asked)
}

// assertion returns a signed request for a token (RFC 7523, section 2.1). The package
// x/oauth2/jwt has it too, but neither takes a time nor tells why a request failed.
func (s *serviceAccount) assertion(now time.Time) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": s.keyID})
	if err != nil {
		return "", errors.Wrap(err, "cannot sign a request for a token")
	}
	claims, err := json.Marshal(map[string]any{"iss": s.email, "scope": scopeGCS, "aud": googleOAuth, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix()})
	if err != nil {
		return "", errors.Wrap(err, "cannot sign a request for a token")
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), errors.Wrap(err, "cannot sign a request for a token")
}
