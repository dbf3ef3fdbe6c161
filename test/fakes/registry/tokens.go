package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokenPath is where tokens are given out.
const tokenPath = "/auth/token" //nolint:gosec // A path, and no token.

// leeway is for how long the registry takes a token that has expired
// (distribution, registry/auth/token/token.go).
const leeway = 60 * time.Second

const keyID = "test"

// tokens gives out bearer tokens (https://distribution.github.io/distribution/spec/auth/token/
// and, for identity tokens, .../spec/auth/oauth/).
type tokens struct {
	key  *ecdsa.PrivateKey
	life time.Duration

	mu    sync.Mutex
	users []User
}

func newTokens(life time.Duration, users []User) (*tokens, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &tokens{key: key, life: life, users: users}, err
}

func (t *tokens) setUsers(users []User) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = users
}

// identityToken returns the identity token of a user. It ends with the
// password.
func identityToken(u User) string {
	sum := sha256.Sum256([]byte(u.Name + "\n" + u.Password))
	return "identity-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// ServeHTTP gives out a token.
func (t *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("service") != service {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	user, ok := t.userOf(r)
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}`))
		return
	}
	token, err := t.sign(user, strings.Fields(strings.Join(r.Form["scope"], " ")))
	if err != nil {
		http.Error(w, "cannot sign", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": int(t.life.Seconds()), "issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// userOf returns the user of a request; without credentials, a user without rights.
func (t *tokens) userOf(r *http.Request) (User, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, password, known := r.BasicAuth()
	for _, u := range t.users {
		switch {
		case r.Method == http.MethodPost && r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") == identityToken(u),
			r.Method == http.MethodGet && known && name == u.Name && password == u.Password:
			return u, true
		}
	}
	return User{Actions: []string{}}, r.Method == http.MethodGet && !known
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// granted returns what of the scopes a user may do.
func granted(u User, scopes []string) []access {
	out := []access{}
	for _, s := range scopes {
		parts := strings.Split(s, ":")
		if len(parts) != 3 {
			continue
		}
		actions := strings.Split(parts[2], ",")
		if u.Actions != nil {
			actions = slices.DeleteFunc(actions, func(a string) bool { return !slices.Contains(u.Actions, a) })
		}
		out = append(out, access{Type: parts[0], Name: parts[1], Actions: actions})
	}
	return out
}

// sign returns a token (RFC 7519) that the registry takes for as long as tokens
// live, which it would take for its leeway longer.
func (t *tokens) sign(u User, scopes []string) (string, error) {
	// Rounded up, so that no token lives shorter.
	issued := time.Now().Add(time.Second - 1).Truncate(time.Second).Add(-leeway).Unix()
	head := encode(map[string]string{"typ": "JWT", "alg": "ES256", "kid": keyID})
	body := encode(map[string]any{
		"iss": issuer, "sub": u.Name, "aud": service, "jti": rand.Text(),
		"iat": issued, "nbf": issued, "exp": issued + int64(t.life.Seconds()),
		"access": granted(u, scopes),
	})
	sum := sha256.Sum256([]byte(head + "." + body))
	r, s, err := ecdsa.Sign(rand.Reader, t.key, sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return head + "." + body + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// keySet returns the key that tokens are checked with (RFC 7517).
func (t *tokens) keySet() []byte {
	point, _ := t.key.PublicKey.Bytes() // It is on the curve.
	b, _ := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": keyID,
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
	return b
}

func encode(v any) string {
	b, _ := json.Marshal(v) // Maps of strings and numbers can be.
	return base64.RawURLEncoding.EncodeToString(b)
}
