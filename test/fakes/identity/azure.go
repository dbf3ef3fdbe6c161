package identity

import (
	"crypto/rand"
	"net/http"
)

// What the clouds of Azure know.
const (
	ContainerRegistry = "example.azurecr.io"

	EntraHost = "login.microsoftonline.com"
	TenantID  = "11111111-2222-3333-4444-555555555555"
	ClientID  = "66666666-7777-8888-9999-000000000000"

	// ClientSecret is the application's, for storage.
	ClientSecret = "client-secret~of.an-application"

	// AudienceAzure is that of the tokens that the webhook mounts.
	AudienceAzure = "api://AzureADTokenExchange"
)

func (c *Clouds) serveAzure() {
	c.answers[EntraHost] = c.serveEntra
	c.answers[ContainerRegistry] = c.serveACR
}

// serveEntra issues tokens for the scopes of container registries and of storage.
func (c *Clouds) serveEntra(w http.ResponseWriter, r *http.Request) {
	refuse := func(code, number string) {
		answer(w, http.StatusUnauthorized, map[string]string{"error": code, "error_description": number + ": " + r.FormValue("client_assertion")})
	}
	secret := r.FormValue("client_secret")
	switch {
	case r.Method != http.MethodPost, r.FormValue("grant_type") != "client_credentials",
		secret == "" && r.FormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		refuse("invalid_request", "AADSTS900144")
	case r.URL.Path != "/"+TenantID+"/oauth2/v2.0/token":
		refuse("invalid_request", "AADSTS90002")
	case r.FormValue("client_id") != ClientID:
		refuse("unauthorized_client", "AADSTS700016")
	case r.FormValue("scope") != "https://containerregistry.azure.net/.default" && r.FormValue("scope") != "https://storage.azure.com/.default":
		refuse("invalid_scope", "AADSTS70011")
	case secret != "" && secret != ClientSecret:
		refuse("invalid_client", "AADSTS7000215")
	case secret != "":
		token, _ := c.issue("password")
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": c.seconds(), "token_type": "Bearer"})
	case !c.Issuer.verifies(r.FormValue("client_assertion"), c.Subject, AudienceAzure, c.Now()):
		refuse("invalid_client", "AADSTS700213")
	default:
		what := "entra"
		if r.FormValue("scope") == "https://storage.azure.com/.default" {
			what = "password" // Which storage accepts as it is.
		}
		token, _ := c.issue(what)
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": c.seconds(), "token_type": "Bearer"})
	}
}

// serveACR exchanges a token of Entra ID for a registry's refresh token.
func (c *Clouds) serveACR(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost, r.URL.Path != "/oauth2/exchange", r.FormValue("grant_type") != "access_token", r.FormValue("service") != ContainerRegistry:
		answer(w, http.StatusBadRequest, map[string]any{"errors": []any{map[string]string{"code": "UNSUPPORTED"}}})
	case r.FormValue("tenant") != TenantID, !c.valid("entra", r.FormValue("access_token")):
		answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": r.FormValue("access_token")}}})
	default:
		token := encode(map[string]string{"alg": "RS256"}) + "." + encode(map[string]any{"exp": c.Now().Add(c.Life).Unix()}) + "." + rand.Text()
		c.register("password", token)
		answer(w, http.StatusOK, map[string]string{"refresh_token": token})
	}
}
