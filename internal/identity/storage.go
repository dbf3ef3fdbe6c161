package identity

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// scopeGCS allows to read objects and no more
	// (https://cloud.google.com/storage/docs/oauth-scopes).
	scopeGCS = "https://www.googleapis.com/auth/devstorage.read_only"

	// scopeBlob is what tokens for Azure Storage are for, in all of Azure's clouds
	// (https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory).
	scopeBlob = "https://storage.azure.com/.default"
)

// NewGCS returns the Source of tokens that may read Google Cloud Storage as the workload
// that an environment describes. A token is the password; its username means nothing.
func NewGCS(e Environment, o Options) (Source, error) {
	c := o.client()
	i, err := newGoogle(e, c, scopeGCS)
	return o.cached(c, i, err)
}

// NewGCSAccount returns the Source of tokens that may read Google Cloud Storage as the
// account of gcloud-application-credentials.json, which is a service account's key or an
// external_account. What these credentials name is not trusted: their secrets go to
// Google alone, and no file that they name is read. An external_account must name a file in
// the folder of the credentials, empty for any folder, and read returns the value of the key
// that is called as that file.
func NewGCSAccount(credentials []byte, folder string, read func(key string) ([]byte, error), o Options) (Source, error) {
	c := o.client()
	i, err := newGoogleAccount(credentials, folder, read, c)
	return o.cached(c, i, err)
}

// NewBlob returns the Source of tokens for Azure Blob Storage as the workload that an
// environment describes. A token is the password; its username means nothing.
func NewBlob(e Environment, o Options) (Source, error) {
	c := o.client()
	i, err := newEntra(e, c, scopeBlob)
	return o.cached(c, i, err)
}

// An AzureClient is an application of Entra ID with a secret.
type AzureClient struct {
	Tenant, ID, Secret string

	// Domain of the storage account, by which Azure's cloud is known:
	// core.chinacloudapi.cn.
	Domain string
}

// NewBlobClient returns the Source of tokens for Azure Blob Storage as an application.
func NewBlobClient(a AzureClient, o Options) (Source, error) {
	switch {
	case !tenantID.MatchString(a.Tenant):
		return nil, outcome.Errorf(outcome.ConfigInvalid, "AZURE_TENANT_ID of the source's Secret is no ID of a tenant")
	case !guid.MatchString(a.ID):
		return nil, outcome.Errorf(outcome.ConfigInvalid, "AZURE_CLIENT_ID of the source's Secret is no client ID of an application")
	}
	c := o.client()
	e := &entraIssuer{client: c, at: atEntraClient, authority: authorityOf(a.Domain), tenant: a.Tenant, clientID: a.ID, scope: scopeBlob, proof: func(form url.Values) error {
		form.Set("client_secret", a.Secret)
		return nil
	}}
	return o.cached(c, e, nil)
}

// authorityOf returns the authority of Entra ID in the cloud that a domain is of.
func authorityOf(domain string) string {
	switch {
	case strings.HasSuffix(domain, ".chinacloudapi.cn"):
		return "https://login.partner.microsoftonline.cn"
	case strings.HasSuffix(domain, ".usgovcloudapi.net"):
		return "https://login.microsoftonline.us"
	}
	return publicAuthority
}

// An entraIssuer gets tokens of Entra ID.
type entraIssuer struct {
	client *client
	at     endpoint

	authority, tenant, clientID, scope string

	// proof adds what proves the client's identity to a request.
	proof func(form url.Values) error
}

// issue implements issuer.
func (i *entraIssuer) issue(ctx context.Context) (token, error) {
	// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {i.clientID}, "scope": {i.scope}}
	if err := i.proof(form); err != nil {
		return token{}, err
	}
	asked := i.client.now()
	body, err := i.client.post(ctx, i.at, i.authority+"/"+i.tenant+"/oauth2/v2.0/token", form)
	if err != nil {
		return token{}, err
	}
	return accessToken(i.at, body, asked)
}

// assertion is the proof of a workload: the token of its service account.
func assertion(file *connection.MountedFile) func(url.Values) error {
	return func(form url.Values) error {
		own, err := subject(file.Text())
		form.Set("client_assertion_type", typeAssertion)
		form.Set("client_assertion", own)
		return err
	}
}

// client returns what makes the requests of a Source.
func (o Options) client() *client {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &client{userAgent: o.UserAgent, now: now, transport: o.Transport, wrap: o.Wrap}
}

// cached returns the Source of what an issuer issues, unless there is none.
func (o Options) cached(c *client, i issuer, err error) (Source, error) {
	if err != nil {
		return nil, err
	}
	return newCached(c, i, o.Retry), nil
}
