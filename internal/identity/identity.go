// Package identity obtains passwords for the registries of clouds by the identity that the
// cloud gives to a workload: to a Pod, by its service account. No secret is stored. It
// knows Amazon ECR (private and public), Google Artifact Registry and Azure Container
// Registry, and each by the host of a registry. For the storage of Google Cloud and Azure
// it obtains tokens, by the same identity or by the credentials of an account.
//
// It is the only package that sends requests to the link-local addresses of clouds, and
// only to those that it names itself.
package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Source has the account that a workload's identity has at one registry.
type Source interface {
	// Token returns the account as it is now, and when its password expires. It is quick
	// unless the password must be renewed, and safe for concurrent use. Its errors are
	// outcome.Errors.
	Token(ctx context.Context) (username, password string, expires time.Time, err error)
}

// Options of a Source.
type Options struct {
	// UserAgent that requests name the program by.
	UserAgent string

	// Retry is how requests are retried; the zero value retries none.
	Retry retry.Policy

	// Now is the time; nil for time.Now.
	Now func() time.Time

	// Transport sends the requests. Nil, which only tests should change, connects to the
	// endpoints of the clouds.
	Transport http.RoundTripper

	// Wrap returns what sends the requests by another transport, for a program that bounds
	// all of its requests; nil to use that as it is.
	Wrap func(next http.RoundTripper) http.RoundTripper
}

// An issuer gets a new password from a cloud.
type issuer interface {
	issue(ctx context.Context) (token, error)
}

// A token is an account at a registry, or the keys of a role's session at AWS.
type token struct {
	username, password string

	session string // What belongs to the keys of a session.
	expires time.Time
}

// New returns the Source for the registry at a host. It returns an error with reason
// ConfigInvalid if the host is no registry of a cloud, and one that says what is missing
// if the environment has no identity for its cloud. Nothing is requested yet.
func New(host string, e Environment, o Options) (Source, error) {
	c := o.client()
	var i issuer
	var err error
	switch r := registryAt(host); r.cloud {
	case aws:
		i, err = newAWS(r, e, c)
	case google:
		i, err = newGoogle(e, c, googleScope)
	case azure:
		i, err = newAzure(r, e, c)
	default:
		err = outcome.Errorf(outcome.ConfigInvalid,
			"registry %s is not one of Amazon ECR, Google Artifact Registry or Azure Container Registry, whose hosts are like 123456789012.dkr.ecr.eu-central-1.amazonaws.com, public.ecr.aws, europe-docker.pkg.dev and example.azurecr.io: write credentials.source: Secret, or the host of one of these", outcome.Shorten(host))
	}
	return o.cached(c, i, err)
}
