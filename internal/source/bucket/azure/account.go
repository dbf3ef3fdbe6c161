package azure

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// Keys of a Secret, as KServe and gocloud.dev name them.
const (
	keyAccess = "AZURE_STORAGE_ACCESS_KEY"
	keySAS    = "AZURE_STORAGE_SAS_TOKEN"
	keyTenant = "AZURE_TENANT_ID"
	keyClient = "AZURE_CLIENT_ID"
	keySecret = "AZURE_CLIENT_SECRET" //nolint:gosec // A name.
)

// authorizerOf returns what authorizes a source's requests; nil for nothing.
func authorizerOf(s pipeline.Source, endpoint string, retries retry.Policy) (bucket.Authorizer, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // The client explains it.
	}
	switch secret := bucket.NewSecret(s); {
	case secret != nil:
		a := &account{
			secret: secret, name: s.AzureBlob.Account, domain: u.Hostname(), endpoint: endpoint, tls: u.Scheme == "https",
			options: identity.Options{UserAgent: version.UserAgent(), Retry: retries, Wrap: s.Transport}, issued: s.Issued,
		}
		// What is wrong with it is reported before anything is asked.
		_, err := a.now()
		return a, err
	case s.AzureBlob.Identity:
		if !identity.IsAzureBlob(endpoint, s.AzureBlob.Account) {
			// A tenant may name the endpoint, and a token is good wherever it is read.
			return nil, outcome.Errorf(outcome.Unsupported, "the run's identity is for the account's own host in Azure: leave %s.endpoint out, or name a Secret in %s.credentialsSecretRef", field, field)
		}
		if s.AzureBlob.Tokens == nil {
			return nil, outcome.Errorf(outcome.Internal, "this run has no identity for account %s", s.AzureBlob.Account)
		}
		return &bucket.Bearer{Tokens: func() (identity.Source, error) { return s.AzureBlob.Tokens, nil }}, nil
	}
	return nil, nil //nolint:nilnil // Requests are anonymous.
}

// An account authorizes requests by a Secret as it is now: by a key of the account, a
// shared access signature, or an application of Entra ID.
type account struct {
	secret       *bucket.Secret
	name, domain string
	endpoint     string
	tls          bool
	options      identity.Options
	issued       func(string)

	mu     sync.Mutex
	client identity.AzureClient
	own    identity.Source // Of the client.
}

// Credentials are those of a Secret. Exactly one kind is set.
type credentials struct {
	key    []byte
	sas    url.Values
	bearer *bucket.Bearer

	text string // What they were read of; empty for a bearer.
}

var _ bucket.Authorizer = &account{}

// now returns the credentials that the Secret has, which must be for the endpoint.
func (a *account) now() (credentials, error) {
	c, err := a.read()
	if err == nil && !identity.IsAzureBlob(a.endpoint, a.name) {
		// Also for a key, which is not sent: a signature by it says nothing of the host.
		err = a.secret.CheckHost(field, identity.HostOf(a.endpoint))
	}
	return c, err
}

// read returns the credentials that the Secret has.
func (a *account) read() (credentials, error) {
	values := map[string]string{}
	for _, key := range []string{keyAccess, keySAS, keyTenant, keyClient, keySecret} {
		v, err := a.secret.Text(key)
		if err != nil {
			return credentials{}, err
		}
		values[key] = v
	}
	if values[keyAccess] == "" && !a.tls {
		return credentials{}, outcome.Errorf(outcome.ConfigInvalid, "signatures and tokens are sent with TLS only: write https:// into %s.endpoint, or %s into the Secret", field, keyAccess)
	}
	switch {
	case values[keyAccess] != "":
		key, err := base64.StdEncoding.DecodeString(values[keyAccess])
		if err != nil {
			return credentials{}, outcome.Errorf(outcome.ConfigInvalid, "%s of the source's Secret is no key in base64: write the value that the portal shows", keyAccess)
		}
		return credentials{key: key, text: values[keyAccess]}, nil
	case values[keySAS] != "":
		sas, err := url.ParseQuery(strings.TrimPrefix(values[keySAS], "?"))
		if err != nil || !sas.Has("sig") {
			return credentials{}, outcome.Errorf(outcome.ConfigInvalid, "%s of the source's Secret is no shared access signature: write what is after the ? of its URL, with sig=", keySAS)
		}
		return credentials{sas: sas, text: values[keySAS]}, nil
	case values[keySecret] != "":
		own, err := a.application(identity.AzureClient{Tenant: values[keyTenant], ID: values[keyClient], Secret: values[keySecret], Domain: a.domain})
		return credentials{bearer: &bucket.Bearer{Tokens: func() (identity.Source, error) { return own, nil }, Issued: a.issued}}, err
	}
	return credentials{}, outcome.Errorf(outcome.ConfigInvalid, "the Secret that %s.credentialsSecretRef names has neither %s nor %s, nor %s with %s and %s", field, keyAccess, keySAS, keySecret, keyClient, keyTenant)
}

// application returns the tokens of an application, which are kept until it changes.
func (a *account) application(c identity.AzureClient) (identity.Source, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own != nil && a.client == c {
		return a.own, nil
	}
	own, err := identity.NewBlobClient(c, a.options)
	if err == nil {
		a.own, a.client = own, c
	}
	return own, err
}

// Credentials implements bucket.Authorizer.
func (a *account) Credentials(ctx context.Context) (string, error) {
	c, err := a.now()
	if err != nil || c.bearer == nil {
		return c.text, err
	}
	return c.bearer.Credentials(ctx)
}

// Expired implements bucket.Expirer. The service refuses an expired signature with status
// 403, as it does what an account may not do.
func (*account) Expired(rsp *http.Response) bool {
	return rsp.StatusCode == http.StatusUnauthorized || rsp.Header.Get(headerCode) == codeFailed
}

// Authorize implements bucket.Authorizer.
func (a *account) Authorize(req *http.Request) error {
	c, err := a.now()
	switch {
	case err != nil:
		return err
	case c.bearer != nil:
		return c.bearer.Authorize(req)
	case c.sas != nil:
		query := req.URL.Query()
		for name, values := range c.sas {
			query[name] = values
		}
		u := *req.URL
		u.RawQuery = query.Encode()
		req.URL = &u
	default:
		req.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
		req.Header.Set("Authorization", "SharedKey "+a.name+":"+signature(req, a.name, c.key))
	}
	return nil
}

// signature returns the Shared Key signature of a request without a body
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func signature(req *http.Request, account string, key []byte) string {
	lines := []string{req.Method}
	for _, name := range []string{
		"Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type",
		"Date", "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
	} {
		lines = append(lines, req.Header.Get(name))
	}
	var own []string
	for name, values := range req.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			own = append(own, lower+":"+strings.TrimSpace(strings.Join(values, ",")))
		}
	}
	slices.Sort(own)
	lines = append(append(lines, own...), "/"+account+req.URL.EscapedPath())
	var query []string
	for name, values := range req.URL.Query() {
		slices.Sort(values)
		query = append(query, strings.ToLower(name)+":"+strings.Join(values, ","))
	}
	slices.Sort(query)
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(strings.Join(append(lines, query...), "\n")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
