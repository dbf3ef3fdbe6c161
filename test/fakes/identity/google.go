package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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

	googleScope  = "https://www.googleapis.com/auth/cloud-platform"
	storageScope = "https://www.googleapis.com/auth/devstorage.read_only"

	// GoogleOAuthHost issues tokens for the keys of service accounts.
	GoogleOAuthHost = "oauth2.googleapis.com"
)

// ImpersonationURL is where tokens of the service account are issued.
const ImpersonationURL = "https://" + ImpersonateHost + "/v1/projects/-/serviceAccounts/" + ServiceAccount + ":generateAccessToken"

func (c *Clouds) serveGoogle() {
	c.answers[MetadataHost] = c.serveMetadata
	c.answers[GoogleSTSHost] = c.serveGoogleSTS
	c.answers[ImpersonateHost] = c.serveImpersonation
	c.answers[GoogleOAuthHost] = c.serveGoogleOAuth
}

// isScope reports whether a scope is one for registries or for storage.
func isScope(s string) bool { return s == googleScope || s == storageScope }

// ServiceAccountKey creates a key of the service account, as the JSON that holds it.
func (c *Clouds) ServiceAccountKey() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	c.key = &key.PublicKey
	c.mu.Unlock()
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": ServiceAccount, "private_key_id": "1", "token_uri": "https://" + GoogleOAuthHost + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		panic(err)
	}
	return b
}

// serveGoogleOAuth issues tokens to who has the last key of the service account.
func (c *Clouds) serveGoogleOAuth(w http.ResponseWriter, r *http.Request) {
	text, signature, claims := splitToken(r.FormValue("assertion"))
	c.mu.Lock()
	key := c.key
	c.mu.Unlock()
	sum := sha256.Sum256([]byte(text))
	now := c.Now().Unix()
	switch {
	case r.Method != http.MethodPost, r.URL.Path != "/token", r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
		answer(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	case key == nil, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil, claims.Issuer != ServiceAccount, claims.Scope != storageScope,
		claims.Audience != "https://"+GoogleOAuthHost+"/token", claims.Issued > now, claims.Expires <= now, claims.Expires > claims.Issued+3600:
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": r.FormValue("assertion")})
	default:
		token, _ := c.issue("password")
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": c.seconds(), "token_type": "Bearer"})
	}
}

// claims of a service account's request for a token.
type claims struct {
	Issuer   string `json:"iss"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// splitToken returns what of a web token is signed, its signature, and its claims.
func splitToken(token string) (text string, signature []byte, c claims) {
	i := strings.LastIndex(token, ".")
	if i < 0 {
		return "", nil, c
	}
	_, payload, _ := strings.Cut(token[:i], ".")
	signature, _ = base64.RawURLEncoding.DecodeString(token[i+1:])
	b, _ := base64.RawURLEncoding.DecodeString(payload)
	_ = json.Unmarshal(b, &c)
	return token[:i], signature, c
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
		r.FormValue("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt", !isScope(r.FormValue("scope")):
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
	case json.Unmarshal(content(r), &asked) != nil, len(asked.Scope) != 1, !isScope(asked.Scope[0]), asked.Lifetime != "3600s":
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "status": "INVALID_ARGUMENT"}})
	default:
		issued, expires := c.issue("password")
		answer(w, http.StatusOK, map[string]string{"accessToken": issued, "expireTime": expires.UTC().Format(time.RFC3339)})
	}
}
