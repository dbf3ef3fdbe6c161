package identity

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// What the clouds of Google know.
const (
	ArtifactRegistry = "europe-docker.pkg.dev"

	MetadataHost    = "169.254.169.254"
	GoogleSTSHost   = "sts.googleapis.com"
	ImpersonateHost = "iamcredentials.googleapis.com"

	// GoogleAudience is that of the pool's provider, in requests to STS.
	GoogleAudience = "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/models/providers/cluster"

	// AudienceGoogle is that of the workload's token.
	AudienceGoogle = "https://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/models/providers/cluster"

	// ServiceAccount that the workload may impersonate.
	ServiceAccount = "models@example-project.iam.gserviceaccount.com"

	googleScope = "https://www.googleapis.com/auth/cloud-platform"
)

// ImpersonationURL is where tokens of the service account are issued.
const ImpersonationURL = "https://" + ImpersonateHost + "/v1/projects/-/serviceAccounts/" + ServiceAccount + ":generateAccessToken"

func (c *Clouds) serveGoogle() {
	c.answers[MetadataHost] = c.serveMetadata
	c.answers[GoogleSTSHost] = c.serveGoogleSTS
	c.answers[ImpersonateHost] = c.serveImpersonation
}

// serveMetadata answers as GKE's metadata server, which knows the Pod by its address.
func (c *Clouds) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata-Flavor") != "Google" {
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	if r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
		http.NotFound(w, r)
		return
	}
	token, _ := c.issue("password")
	answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": c.seconds(), "token_type": "Bearer"})
}

// serveGoogleSTS exchanges a workload's token for one that can impersonate or be used.
func (c *Clouds) serveGoogleSTS(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost, r.URL.Path != "/v1/token",
		r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange",
		r.FormValue("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token",
		r.FormValue("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt", r.FormValue("scope") != googleScope:
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": r.FormValue("subject_token")})
	case r.FormValue("audience") != GoogleAudience, !c.Issuer.verifies(r.FormValue("subject_token"), c.Subject, AudienceGoogle, c.Now()):
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": r.FormValue("subject_token")})
	default:
		token, _ := c.issue("password")
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": c.seconds(), "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}) //nolint:gosec // A fake's token.
	}
}

// serveImpersonation issues tokens of the service account for those of the workload.
func (c *Clouds) serveImpersonation(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Scope    []string `json:"scope"`
		Lifetime string   `json:"lifetime"`
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !c.Accepts(token):
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": 401, "status": "UNAUTHENTICATED", "message": token}})
	case "https://"+r.Host+r.URL.Path != ImpersonationURL:
		answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{"code": 403, "status": "PERMISSION_DENIED"}})
	case json.Unmarshal(content(r), &asked) != nil, len(asked.Scope) != 1, asked.Scope[0] != googleScope, asked.Lifetime != "3600s":
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "status": "INVALID_ARGUMENT"}})
	default:
		issued, expires := c.issue("password")
		answer(w, http.StatusOK, map[string]string{"accessToken": issued, "expireTime": expires.UTC().Format(time.RFC3339)})
	}
}
