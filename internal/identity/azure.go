package identity

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// usernameACR is what a refresh token as password is for
	// (https://learn.microsoft.com/azure/container-registry/container-registry-authentication).
	usernameACR = "00000000-0000-0000-0000-000000000000"

	typeAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// lifeACR is taken for a refresh token that does not say when it ends. Those of Azure
	// live for 3 hours.
	lifeACR = time.Hour

	publicAuthority = "https://login.microsoftonline.com"
)

// authorities are those of Entra ID
// (https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
var authorities = map[string]bool{
	publicAuthority:                            true,
	"https://login.microsoftonline.us":         true,
	"https://login.partner.microsoftonline.cn": true,
	"https://login.chinacloudapi.cn":           true,
}

// scopes are what a token for a registry of each domain is for, as azcontainerregistry of
// the Azure SDK for Go has them.
var scopes = map[string]string{
	"io": "https://containerregistry.azure.net/.default",
	"cn": "https://management.chinacloudapi.cn/.default",
	"us": "https://management.usgovcloudapi.net/.default",
}

var (
	guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

	// tenantID matches a tenant's number or one of its domains.
	tenantID = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$`)
)

// endpoints of Azure.
var (
	atEntra       = endpoint{name: "Microsoft Entra ID", cure: "check that the managed identity or application has a federated credential with this cluster's issuer, this namespace and service account, and the audience api://AzureADTokenExchange"}
	atEntraClient = endpoint{name: "Microsoft Entra ID", cure: "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of the source's Secret, and that the secret has not expired"}
	atACR         = endpoint{name: "Azure Container Registry", cure: "grant the identity AcrPush, or a role with the same actions, on this registry, and check that the registry accepts tokens of Entra ID"}
)

// An azureIssuer gets passwords for one registry.
type azureIssuer struct {
	*entraIssuer

	host string
}

// newAzure returns what gets passwords for a registry.
func newAzure(r cloudRegistry, e Environment, c *client) (*azureIssuer, error) {
	i, err := newEntra(e, c, scopes[r.host[strings.LastIndex(r.host, ".")+1:]])
	return &azureIssuer{entraIssuer: i, host: r.host}, err
}

// newEntra returns what gets tokens with a scope for a workload.
func newEntra(e Environment, c *client, scope string) (*entraIssuer, error) {
	if !e.has(envAzureClient, envAzureTenant, envAzureToken) {
		return nil, outcome.Errorf(outcome.ConfigInvalid,
			"this Pod has no identity of Azure: its environment has not all of %s, %s and %s. Annotate its service account with azure.workload.identity/client-id, have the Pod labeled azure.workload.identity/use: \"true\", and start the Pod again",
			envAzureClient, envAzureTenant, envAzureToken)
	}
	i := &entraIssuer{client: c, at: atEntra, scope: scope}
	i.authority = strings.TrimRight(cmp.Or(e.values[envAzureAuthority], publicAuthority), "/")
	if !authorities[i.authority] {
		return nil, invalid(envAzureAuthority, "the address of Microsoft Entra ID in one of Azure's clouds, such as "+publicAuthority)
	}
	var err error
	if i.clientID, err = e.matching(envAzureClient, guid, "the client ID of an identity"); err != nil {
		return nil, err
	}
	if i.tenant, err = e.matching(envAzureTenant, tenantID, "the ID of a tenant"); err != nil {
		return nil, err
	}
	file, err := e.file(envAzureToken)
	i.proof = assertion(file)
	return i, err
}

// issue implements issuer.
func (i *azureIssuer) issue(ctx context.Context) (token, error) {
	asked := i.client.now()
	entra, err := i.entraIssuer.issue(ctx)
	if err != nil {
		return token{}, err
	}
	// https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
	body, err := i.client.post(ctx, atACR, "https://"+i.host+"/oauth2/exchange", url.Values{
		"grant_type": {"access_token"}, "service": {i.host}, "tenant": {i.tenant}, "access_token": {entra.password},
	})
	if err != nil {
		return token{}, err
	}
	return refreshToken(body, asked)
}

// refreshToken returns the password in a registry's answer to a request that was made at a
// time.
func refreshToken(body []byte, asked time.Time) (token, error) {
	var answer struct {
		Token string `json:"refresh_token"`
	}
	if answerLimits.JSON(body, &answer) != nil || !isToken(answer.Token) {
		return token{}, unusable(atACR)
	}
	t := token{username: usernameACR, password: answer.Token, expires: asked.Add(lifeACR)}
	if ends, ok := expiryOf(answer.Token); ok {
		t.expires = ends
	}
	return t, nil
}

// expiryOf returns when a JSON web token ends, and reports whether it says so. Nothing is
// verified: whoever issued the token decides when it ends.
func expiryOf(jwt string) (time.Time, bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var c struct {
		Expires float64 `json:"exp"`
	}
	if answerLimits.JSON(claims, &c) != nil || c.Expires <= 0 || c.Expires > maxUnix {
		return time.Time{}, false
	}
	return time.Unix(int64(c.Expires), 0), true
}
