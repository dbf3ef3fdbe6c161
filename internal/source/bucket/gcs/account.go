package gcs

import (
	"bytes"
	"io/fs"
	"strings"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// credentialsKey is the key of a Secret that has an account's credentials, as KServe names
// it.
const credentialsKey = "gcloud-application-credentials.json" //nolint:gosec // A name.

// authorizerOf returns what authorizes a source's requests; nil for nothing.
func authorizerOf(s pipeline.Source, o identity.Options) (bucket.Authorizer, error) {
	switch secret := bucket.NewSecret(s); {
	case secret != nil && strings.HasPrefix(s.GCS.Endpoint, "http://"):
		return nil, outcome.Errorf(outcome.ConfigInvalid, "tokens are sent with TLS only: write https:// into %s.endpoint, or remove %s.credentialsSecretRef", field, field)
	case secret != nil:
		a := &account{secret: secret, folder: s.CredentialsFolder, endpoint: s.GCS.Endpoint, options: o}
		_, err := a.tokens()
		return &bucket.Bearer{Tokens: a.tokens, Issued: s.Issued}, err
	case s.GCS.Identity:
		if !identity.IsGoogle(s.GCS.Endpoint) {
			// A tenant may name the endpoint, and a token is good wherever it is read.
			return nil, outcome.Errorf(outcome.Unsupported, "the run's identity is for Google's own hosts: leave %s.endpoint out, or name a Secret in %s.credentialsSecretRef", field, field)
		}
		if s.GCS.Tokens == nil {
			return nil, outcome.Errorf(outcome.Internal, "this run has no identity for bucket %s", s.GCS.Bucket)
		}
		return &bucket.Bearer{Tokens: func() (identity.Source, error) { return s.GCS.Tokens, nil }}, nil
	}
	return nil, nil //nolint:nilnil // Requests are anonymous.
}

// An account is a Secret's, as it is now.
type account struct {
	secret           *bucket.Secret
	folder, endpoint string
	options          identity.Options

	mu          sync.Mutex
	credentials []byte
	own         identity.Source // By the credentials.
}

// tokens returns the account's identity.
func (a *account) tokens() (identity.Source, error) {
	b, err := a.secret.Read(credentialsKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, outcome.Errorf(outcome.ConfigInvalid, "the Secret that %s.credentialsSecretRef names has no key %s: write the key of a service account there", field, credentialsKey)
	case err != nil:
		return nil, outcome.Errorf(outcome.ConfigInvalid, "key %s of the source's Secret cannot be read", credentialsKey).Because(err)
	}
	if !identity.IsGoogle(a.endpoint) {
		if err := a.secret.CheckHost(field, identity.HostOf(a.endpoint)); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own == nil || !bytes.Equal(b, a.credentials) {
		own, err := identity.NewGCSAccount(b, a.folder, a.secret.Read, a.options)
		if err != nil {
			return nil, err
		}
		a.own, a.credentials = own, b
	}
	return a.own, nil
}
