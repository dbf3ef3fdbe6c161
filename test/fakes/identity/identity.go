// Package identity has fakes of the endpoints by which clouds give workloads accounts at
// their registries: AWS STS, the EKS Pod Identity agent and ECR, Google's metadata server,
// STS and IAM Credentials API, and Entra ID with Azure Container Registry. They refuse
// requests that are expired, badly signed or of another workload.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Life is how long what the clouds issue lives by default.
const Life = time.Hour

// An Issuer is a cluster's OIDC issuer.
type Issuer struct {
	URL string

	key *ecdsa.PrivateKey
}

// NewIssuer returns an issuer with a key of its own.
func NewIssuer(url string) *Issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Issuer{URL: url, key: key}
}

// Token returns a service account's token, as the kubelet projects it: with the audience in
// an array, signed with ES256 (RFC 7518, section 3.4).
func (i *Issuer) Token(subject, audience string, expires time.Time) string {
	header := encode(map[string]any{"alg": "ES256", "typ": "JWT"})
	claims := encode(map[string]any{"iss": i.URL, "sub": subject, "aud": []string{audience}, "exp": expires.Unix()})
	sum := sha256.Sum256([]byte(header + "." + claims))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		panic(err)
	}
	return header + "." + claims + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// verifies reports whether a token is the issuer's for a subject and an audience, and has
// not expired.
func (i *Issuer) verifies(token, subject, audience string, now time.Time) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(&i.key.PublicKey, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return false
	}
	var claims struct {
		Issuer   string   `json:"iss"`
		Subject  string   `json:"sub"`
		Audience []string `json:"aud"`
		Expires  int64    `json:"exp"`
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return false
	}
	return claims.Issuer == i.URL && claims.Subject == subject && slices.Contains(claims.Audience, audience) && now.Before(time.Unix(claims.Expires, 0))
}

// A Clouds is all of the endpoints, for one workload. It is an http.RoundTripper that
// answers by the host of a request, without a network.
type Clouds struct {
	// Issuer and Subject of the workload that the clouds trust.
	Issuer  *Issuer
	Subject string

	// Now is the clouds' time.
	Now func() time.Time

	// Life of what they issue: of the passwords for registries, and of what those are
	// exchanged from.
	Life time.Duration

	mu       sync.Mutex
	answers  map[string]func(http.ResponseWriter, *http.Request)
	requests map[string]int
	issued   map[string]issued // By the secret.
	key      *rsa.PublicKey    // Of the service account; nil for none.
}

// An issued secret is valid until some time.
type issued struct {
	what, secret string
	expires      time.Time
}

// New returns the clouds for a workload.
func New(i *Issuer, subject string, now func() time.Time) *Clouds {
	c := &Clouds{Issuer: i, Subject: subject, Now: now, Life: Life, requests: map[string]int{}, issued: map[string]issued{}}
	c.answers = map[string]func(http.ResponseWriter, *http.Request){}
	c.serveAWS()
	c.serveGoogle()
	c.serveAzure()
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *Clouds) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	c.mu.Lock()
	c.requests[r.URL.Host]++
	answer := c.answers[r.URL.Host]
	c.mu.Unlock()
	switch {
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case answer == nil:
		http.NotFound(w, in)
	default:
		answer(w, in)
	}
	rsp := w.Result()
	rsp.Request = r
	return rsp, nil
}

// Answer has a host answer otherwise, until it is called with nil.
func (c *Clouds) Answer(host string, h http.HandlerFunc) (restore func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.answers[host]
	c.answers[host] = h
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[host] = was
	}
}

// Requests returns how many requests a host got.
func (c *Clouds) Requests(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[host]
}

// Accepts reports whether a registry would accept a password now.
func (c *Clouds) Accepts(password string) bool { return c.valid("password", password) }

// issue returns a new secret of a kind, which lives as long as all others.
func (c *Clouds) issue(what string) (secret string, expires time.Time) {
	return c.register(what, rand.Text())
}

// register has a secret live as long as all others.
func (c *Clouds) register(what, secret string) (string, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	expires := c.Now().Add(c.Life)
	c.issued[secret] = issued{what: what, secret: secret, expires: expires}
	return secret, expires
}

// valid reports whether a secret was issued as one of a kind and has not expired.
func (c *Clouds) valid(what, secret string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.issued[secret]
	return ok && i.what == what && c.Now().Before(i.expires)
}

// seconds returns how long something lives.
func (c *Clouds) seconds() int { return int(c.Life / time.Second) }

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// content returns a request's body.
func content(r *http.Request) []byte {
	b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	return b
}
