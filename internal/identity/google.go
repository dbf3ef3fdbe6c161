package identity

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// googleMetadata is the host of the metadata server, which GKE answers for with the
	// identity of the Pod's service account
	// (https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity).
	googleMetadata = "169.254.169.254"
	metadataToken  = "http://" + googleMetadata + "/computeMetadata/v1/instance/service-accounts/default/token"

	// googleSTS exchanges tokens (https://cloud.google.com/iam/docs/reference/sts/rest).
	googleSTS = "https://sts.googleapis.com/v1/token"

	// googleScope is what registries take, and what a token needs that another one is
	// issued for; IAM decides what it allows.
	googleScope = "https://www.googleapis.com/auth/cloud-platform"

	// usernameGAR is what a password of Artifact Registry is for
	// (https://cloud.google.com/artifact-registry/docs/docker/authentication).
	usernameGAR = "oauth2accesstoken"

	// impersonatedLife is asked for an impersonated service account: the default's limit
	// (https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken).
	impersonatedLife = "3600s"

	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeID        = "urn:ietf:params:oauth:token-type:id_token"
)

// endpoints of Google Cloud.
var (
	atMetadata    = endpoint{name: "the metadata server of GKE", cure: "check that the cluster and its nodes have Workload Identity, and that the service account may use the registry or the bucket"}
	atGoogleSTS   = endpoint{name: "Google's Security Token Service", cure: "check that the workload identity provider trusts this cluster's issuer, and the audience in GOOGLE_APPLICATION_CREDENTIALS"}
	atImpersonate = endpoint{name: "Google's IAM Credentials API", cure: "grant the workload roles/iam.workloadIdentityUser on the service account that GOOGLE_APPLICATION_CREDENTIALS names"}
)

// newGoogle returns what gets tokens with a scope.
func newGoogle(e Environment, c *client, scope string) (issuer, error) {
	if e.has(envGoogleConfig) {
		file, err := e.file(envGoogleConfig)
		if err != nil {
			return nil, err
		}
		return &federated{client: c, scope: scope, config: func() (*externalAccount, error) {
			b, err := file.Read()
			if err != nil {
				return nil, outcome.Errorf(outcome.ConfigInvalid, "the file that %s names cannot be read: check that it is mounted into the Pod", envGoogleConfig).Because(err)
			}
			return parseExternalAccount(b, "the file that "+envGoogleConfig+" names")
		}}, nil
	}
	switch e.values[envGoogleMetadata] {
	case "", googleMetadata, googleMetadata + ":80", "metadata.google.internal", "metadata.google.internal:80":
		return &metadataServer{client: c, scope: scope}, nil
	}
	return nil, invalid(envGoogleMetadata, "the address of Google's metadata server, "+googleMetadata)
}

// A metadataServer issues tokens for the Pod's service account.
type metadataServer struct {
	client *client
	scope  string
}

// issue implements issuer.
func (m *metadataServer) issue(ctx context.Context) (token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metadataToken+"?scopes="+url.QueryEscape(m.scope), http.NoBody)
	if err != nil {
		return token{}, errors.Wrap(err, "cannot prepare a request for the workload's identity")
	}
	req.Header.Set("Metadata-Flavor", "Google")
	asked := m.client.now()
	header, body, err := m.client.do(atMetadata, req)
	if err != nil {
		return token{}, err
	}
	if header.Get("Metadata-Flavor") != "Google" {
		return token{}, unusable(atMetadata)
	}
	return accessToken(atMetadata, body, asked)
}

// A federated workload exchanges the token of its service account.
type federated struct {
	client *client
	scope  string
	config func() (*externalAccount, error)
}

// issue implements issuer.
func (f *federated) issue(ctx context.Context) (token, error) {
	config, err := f.config()
	if err != nil {
		return token{}, err
	}
	own, err := config.subject()
	if err != nil {
		return token{}, err
	}
	asked, scope := f.client.now(), f.scope
	if config.Impersonation != "" {
		scope = googleScope
	}
	body, err := f.client.post(ctx, atGoogleSTS, googleSTS, url.Values{
		"grant_type": {grantExchange}, "audience": {config.Audience}, "scope": {scope}, "requested_token_type": {typeAccess},
		"subject_token": {own}, "subject_token_type": {config.SubjectTokenType},
	})
	if err != nil {
		return token{}, err
	}
	t, err := accessToken(atGoogleSTS, body, asked)
	if err != nil || config.Impersonation == "" {
		return t, err
	}
	return f.impersonate(ctx, config.Impersonation, t)
}

// impersonate returns a token of the service account whose tokens a URL gives.
func (f *federated) impersonate(ctx context.Context, u string, t token) (token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(`{"scope":["`+f.scope+`"],"lifetime":"`+impersonatedLife+`"}`))
	if err != nil {
		return token{}, errors.Wrap(err, "cannot prepare a request for the workload's identity")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+t.password)
	_, body, err := f.client.do(atImpersonate, req)
	if err != nil {
		return token{}, err
	}
	return impersonated(body)
}

// accessToken returns the token in an OAuth answer to a request that was made at a time.
func accessToken(from endpoint, body []byte, asked time.Time) (token, error) {
	var answer struct {
		Token     string  `json:"access_token"`
		Type      string  `json:"token_type"`
		ExpiresIn float64 `json:"expires_in"`
	}
	if answerLimits.JSON(body, &answer) != nil || !isToken(answer.Token) || answer.Type != "" && !strings.EqualFold(answer.Type, "bearer") || answer.ExpiresIn <= 0 {
		return token{}, unusable(from)
	}
	return token{username: usernameGAR, password: answer.Token, expires: asked.Add(lifeOf(answer.ExpiresIn))}, nil
}

// impersonated returns the token in an answer of the IAM Credentials API.
func impersonated(body []byte) (token, error) {
	var answer struct {
		Token   string `json:"accessToken"`
		Expires string `json:"expireTime"`
	}
	if answerLimits.JSON(body, &answer) != nil || !isToken(answer.Token) {
		return token{}, unusable(atImpersonate)
	}
	ends, err := time.Parse(time.RFC3339, answer.Expires)
	if err != nil {
		return token{}, unusable(atImpersonate)
	}
	return token{username: usernameGAR, password: answer.Token, expires: ends}, nil
}

// An externalAccount is the configuration of a federated workload
// (https://google.aip.dev/auth/4117).
type externalAccount struct {
	Type             string `json:"type"`
	Audience         string `json:"audience"`
	SubjectTokenType string `json:"subject_token_type"`
	TokenURL         string `json:"token_url"`
	Impersonation    string `json:"service_account_impersonation_url"`
	Universe         string `json:"universe_domain"`
	Source           struct {
		File   string `json:"file"`
		Format struct {
			Type  string `json:"type"`
			Field string `json:"subject_token_field_name"`
		} `json:"format"`
	} `json:"credential_source"`

	// read returns the content of the file that is the source.
	read func() ([]byte, error)
}

var (
	poolAudience = regexp.MustCompile(`^//iam\.googleapis\.com/projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{1,64}/providers/[a-z0-9-]{1,64}$`)

	impersonationURL = regexp.MustCompile(`^https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/[a-z0-9.-]{1,128}@[a-z0-9.-]{1,128}\.gserviceaccount\.com:generateAccessToken$`)
)

// parseExternalAccount returns the configuration that is somewhere. It returns an error if that would have the
// workload's token sent anywhere but to Google, or come from anywhere but from a file.
func parseExternalAccount(b []byte, where string) (*externalAccount, error) {
	c := &externalAccount{}
	lacks := func(what string) error {
		return outcome.Errorf(outcome.ConfigInvalid, "%s %s: create it with gcloud iam workload-identity-pools create-cred-config --credential-source-file", where, what)
	}
	switch err := answerLimits.JSON(b, c); {
	case err != nil:
		return nil, lacks("is no JSON of credentials")
	case c.Type != "external_account":
		return nil, lacks(`has another type than "external_account"`)
	case c.TokenURL != googleSTS || c.Universe != "" && c.Universe != "googleapis.com":
		return nil, lacks("has another token_url than " + googleSTS)
	case !poolAudience.MatchString(c.Audience):
		return nil, lacks("has an audience that is no provider of a workload identity pool")
	case c.SubjectTokenType != typeJWT && c.SubjectTokenType != typeID:
		return nil, lacks("has another subject_token_type than " + typeJWT)
	case c.Impersonation != "" && !impersonationURL.MatchString(c.Impersonation):
		return nil, lacks("has a service_account_impersonation_url that is not one of iamcredentials.googleapis.com")
	case !isFilePath(c.Source.File):
		return nil, lacks("names no file with the workload's token")
	}
	c.read = connection.NewMountedFile(c.Source.File).Read
	switch c.Source.Format.Type {
	case "", "text":
	case "json":
		if c.Source.Format.Field == "" {
			return nil, lacks("names no field of the file with the workload's token")
		}
	default:
		return nil, lacks("has an unknown format of the file with the workload's token")
	}
	return c, nil
}

// subject returns the workload's token as its file has it now.
func (c *externalAccount) subject() (string, error) {
	b, err := c.read()
	if c.Source.Format.Type != "json" {
		return subject(connection.Trimmed(string(b)), err)
	}
	fields := map[string]any{}
	if err == nil {
		err = answerLimits.JSON(b, &fields)
	}
	t, _ := fields[c.Source.Format.Field].(string)
	if err != nil || !isToken(t) {
		return "", outcome.Errorf(outcome.ConfigInvalid, "the file that should hold the token of the workload's service account holds none: check what mounts it").Because(err)
	}
	return t, nil
}
