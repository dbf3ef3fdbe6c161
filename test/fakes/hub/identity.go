package hub

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// exchangePath is where issuers' tokens are exchanged for the Hub's.
const exchangePath = "/oauth/token"

// A Publisher is a workload that the Hub trusts to act for a resource, by tokens of an
// OIDC issuer (https://huggingface.co/docs/hub/trusted-publishers). All of its claims
// must match exactly.
type Publisher struct {
	// Resource that the Hub's tokens are for: a user's name, or organisation/name.
	Resource string

	// Issuer, Audience and Subject are what a token must say.
	Issuer, Audience, Subject string

	// Key of the issuer, by which it signs with RS256.
	Key *rsa.PublicKey

	// Life of the Hub's tokens; an hour by default, as on huggingface.co.
	Life time.Duration
}

// An exchanged token is one of the Hub's.
type exchanged struct {
	resource string
	ends     time.Time
}

// SetPublishers has the Hub exchange tokens of these workloads, and of no other. A model
// lets in a resource that its settings name. Tokens that were issued stay good for as
// long as they live.
func (h *Handler) SetPublishers(p ...Publisher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publishers = p
}

// Revoke has all tokens that were issued end.
func (h *Handler) Revoke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = nil
}

// Exchanges returns how many tokens were issued.
func (h *Handler) Exchanges() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exchanges
}

// serveExchange answers as huggingface.co does: what is wrong with a token or a resource
// is invalid_grant, whatever it is. It does not refuse a token that was exchanged before.
func (h *Handler) serveExchange(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", "Root=1-"+rand.Text())
	refuse := func(code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "See the documentation of trusted publishers"})
	}
	var asked map[string]string
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil || json.Unmarshal(b, &asked) != nil || r.Header.Get("Content-Type") != "application/json" ||
		asked["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange" ||
		asked["subject_token_type"] != "urn:ietf:params:oauth:token-type:id_token" {
		refuse("invalid_request")
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.publishers, func(p Publisher) bool {
		return p.Resource == asked["resource"] && p.check(asked["subject_token"], time.Now()) == nil
	})
	if i < 0 {
		refuse("invalid_grant")
		return
	}
	p := h.publishers[i]
	kind := "hf_oauth_"
	if strings.Contains(p.Resource, "/") {
		kind = "hf_jwt_"
	}
	life := p.Life
	if life == 0 {
		life = time.Hour
	}
	token := kind + rand.Text()
	if h.tokens == nil {
		h.tokens = map[string]exchanged{}
	}
	h.tokens[token] = exchanged{resource: p.Resource, ends: time.Now().Add(life)}
	h.exchanges++
	writeJSON(w, map[string]any{ //nolint:gosec // A fake's token.
		"access_token": token, "token_type": "bearer", "expires_in": int(max(life, time.Second).Seconds()),
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
	})
}

// check returns an error unless a token (RFC 7519) is the publisher's at a time.
func (p Publisher) check(token string, now time.Time) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a token")
	}
	var claims struct {
		Issuer    string  `json:"iss"`
		Subject   string  `json:"sub"`
		Audience  any     `json:"aud"`
		Expires   float64 `json:"exp"`
		NotBefore float64 `json:"nbf"`
	}
	var head struct {
		Algorithm string `json:"alg"`
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	switch {
	case err != nil, decodePart(parts[0], &head) != nil, decodePart(parts[1], &claims) != nil:
		return errors.New("not a token")
	case head.Algorithm != "RS256", rsa.VerifyPKCS1v15(p.Key, crypto.SHA256, sum[:], signature) != nil:
		return errors.New("not signed by the issuer")
	case claims.Issuer != p.Issuer, claims.Subject != p.Subject, !isAudience(claims.Audience, p.Audience):
		return errors.New("other claims")
	case float64(now.Unix()) >= claims.Expires, float64(now.Unix()) < claims.NotBefore:
		return errors.New("not good any more, or not yet")
	}
	return nil
}

// isAudience reports whether a claim is one audience, as a word or as a list of one, as
// Kubernetes has it.
func isAudience(claim any, want string) bool {
	switch claim := claim.(type) {
	case string:
		return claim == want
	case []any:
		return len(claim) == 1 && claim[0] == want
	}
	return false
}

func decodePart(part string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// isIssued reports whether a token is of a form that only exchanges give, and the resource
// that it is for; empty if it is not good any more.
func (h *Handler) isIssued(token string) (resource string, ok bool) {
	if !strings.HasPrefix(token, "hf_oauth_") && !strings.HasPrefix(token, "hf_jwt_") {
		return "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := h.tokens[token]; time.Now().Before(i.ends) {
		return i.resource, true
	}
	return "", true
}

// SignToken returns a token of an issuer with these claims, for tests.
func SignToken(key *rsa.PrivateKey, claims map[string]any) (string, error) {
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}
