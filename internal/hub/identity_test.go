package hub

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

const (
	testIssuer  = "https://oidc.example.com/cluster"
	testSubject = "system:serviceaccount:model-runs:models"
)

// issuerKey is the key of a cluster's issuer.
var issuerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// serviceAccountToken returns a token as the kubelet mounts it, with other claims.
func serviceAccountToken(t *testing.T, audience string, other map[string]any) string {
	t.Helper()
	key, err := issuerKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims := map[string]any{"iss": testIssuer, "sub": testSubject, "aud": []string{audience}, "iat": now, "nbf": now - 1, "exp": now + 1800}
	for k, v := range other {
		claims[k] = v
	}
	token, err := testhub.SignToken(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// startIdentityHub starts a Hub with a gated model and a publisher for it.
func startIdentityHub(t *testing.T, life time.Duration) (*testhub.Handler, *httptest.Server) {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "models", "org", "gated")
	if err := os.MkdirAll(filepath.Join(folder, "main"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"main/model.safetensors": strings.Repeat("weight", 1000), "hub.json": `{"gated": "manual", "resources": ["models-bot"]}`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := testhub.NewHandler(dir)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	key, err := issuerKey()
	if err != nil {
		t.Fatal(err)
	}
	h.SetPublishers(testhub.Publisher{Resource: "models-bot", Issuer: testIssuer, Audience: s.URL, Subject: testSubject, Key: &key.PublicKey, Life: life})
	return h, s
}

// TestIdentityReadsGated reads a gated model with an identity and without a stored token,
// over several lives of the Hub's tokens, and after all were revoked.
func TestIdentityReadsGated(t *testing.T) {
	h, s := startIdentityHub(t, 2*time.Second)
	var issued []string
	var mu sync.Mutex
	identity := Identity{
		Resource: "models-bot",
		Subject:  func() (string, error) { return serviceAccountToken(t, s.URL, nil), nil },
		Issued:   func(token string) { mu.Lock(); defer mu.Unlock(); issued = append(issued, token) },
	}
	o := Options{Endpoint: s.URL}
	var err error
	if o.TokenFrom, err = identity.TokenFrom(o); err != nil {
		t.Fatal(err)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read := func() {
		t.Helper()
		r, err := c.Resolve(t.Context(), "org/gated", "main")
		if err != nil {
			t.Fatal(err)
		}
		files, err := c.List(t.Context(), "org/gated", r.Commit)
		if err != nil || len(files) != 1 || files[0].SHA256 == "" {
			t.Fatalf("List(...): %v, %v", files, err)
		}
	}
	read()
	if n := h.Exchanges(); n != 1 {
		t.Errorf("want one exchange for several requests, got %d", n)
	}
	<-time.After(1100 * time.Millisecond)
	read()
	if n := h.Exchanges(); n != 2 {
		t.Errorf("want another exchange at half of the token's life, got %d", n)
	}
	h.Revoke()
	read()
	mu.Lock()
	defer mu.Unlock()
	if len(issued) != h.Exchanges() || !strings.HasPrefix(issued[0], "hf_oauth_") {
		t.Errorf("want each token to be told, got %d of %d", len(issued), h.Exchanges())
	}
}

func TestIdentityRefused(t *testing.T) {
	h, s := startIdentityHub(t, 0)
	cases := map[string]struct {
		reason   string
		resource string
		audience string
		claims   map[string]any
	}{
		"Audience": {reason: "A token for another audience should be refused.", audience: "https://kubernetes.default.svc"},
		"Expired":  {reason: "A token that has ended should be refused.", claims: map[string]any{"exp": time.Now().Add(-time.Second).Unix()}},
		"Subject":  {reason: "A token of another service account should be refused.", claims: map[string]any{"sub": testSubject + "-x"}},
		"Issuer":   {reason: "A token of another cluster should be refused.", claims: map[string]any{"iss": "https://other.example.com"}},
		"Resource": {reason: "A resource without a publisher should be refused.", resource: "somebody"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			audience, resource := s.URL, "models-bot"
			if tc.audience != "" {
				audience = tc.audience
			}
			if tc.resource != "" {
				resource = tc.resource
			}
			subject := serviceAccountToken(t, audience, tc.claims)
			from, err := Identity{Resource: resource, Subject: func() (string, error) { return subject, nil }}.TokenFrom(Options{Endpoint: s.URL + "/"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = from(t.Context())
			if outcome.ReasonOf(err) != outcome.Unauthorized {
				t.Fatalf("\n%s\nwant Unauthorized, got %v", tc.reason, err)
			}
			for _, want := range []string{"huggingFace.identity.resource", "audience " + s.URL, "(request Root=1-", resource} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("\n%s\nwant %q in the message, got %q", tc.reason, want, err)
				}
			}
			if strings.Contains(err.Error(), subject) {
				t.Errorf("\n%s\nthe message shows the token: %v", tc.reason, err)
			}
		})
	}
	if n := h.Exchanges(); n != 0 {
		t.Errorf("want no token to be issued, got %d", n)
	}
}

// TestIdentityAnswers has what answers in place of a Hub be something else, or out of
// order.
func TestIdentityAnswers(t *testing.T) {
	var leaked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	good := `{"access_token":"hf_oauth_x","token_type":"Bearer","expires_in":3600}`
	answer := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	cases := map[string]struct {
		reason  string
		answers []http.HandlerFunc // The last one stays.
		want    outcome.Reason
		words   string
	}{
		"Good":      {reason: "A token should be used.", answers: []http.HandlerFunc{answer(200, good)}},
		"Restart":   {reason: "A failure that may pass should be retried.", answers: []http.HandlerFunc{answer(503, "busy"), answer(429, "", "Retry-After", "0"), answer(200, good)}},
		"Page":      {reason: "A web page is no answer.", answers: []http.HandlerFunc{answer(200, "<html>")}, want: outcome.Unsupported, words: "huggingFace.endpoint"},
		"Empty":     {reason: "A token should have a value.", answers: []http.HandlerFunc{answer(200, `{"access_token":"","expires_in":1}`)}, want: outcome.Unsupported},
		"NoEnd":     {reason: "A token should say how long it lives.", answers: []http.HandlerFunc{answer(200, `{"access_token":"hf_oauth_x"}`)}, want: outcome.Unsupported},
		"Header":    {reason: "A token that would add a header should be refused.", answers: []http.HandlerFunc{answer(200, `{"access_token":"a\r\nX: y","expires_in":3600}`)}, want: outcome.Unsupported},
		"Type":      {reason: "A token of another type should be refused.", answers: []http.HandlerFunc{answer(200, `{"access_token":"x","token_type":"mac","expires_in":3600}`)}, want: outcome.Unsupported},
		"Large":     {reason: "An answer should be bounded.", answers: []http.HandlerFunc{answer(200, `{"access_token":"`+strings.Repeat("x", 1<<20)+`","expires_in":3600}`)}, want: outcome.Unsupported},
		"Redirect":  {reason: "No other host should get the issuer's token.", answers: []http.HandlerFunc{answer(307, "", "Location", elsewhere.URL)}, want: outcome.Unsupported},
		"NoRoute":   {reason: "A mirror may not exchange identities.", answers: []http.HandlerFunc{answer(404, "")}, want: outcome.Unsupported, words: "tokenSecretRef"},
		"Forbidden": {reason: "What a refusal says should not be shown.", answers: []http.HandlerFunc{answer(403, "hostile words", "X-Request-Id", "<hostile words>")}, want: outcome.Unauthorized},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := min(int(asked.Add(1)), len(tc.answers))
				tc.answers[n-1](w, r)
			}))
			t.Cleanup(s.Close)
			e, err := Identity{Resource: "models-bot", Subject: func() (string, error) { return "subject", nil }}.exchange(Options{Endpoint: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			e.retries.Sleep = func(context.Context, time.Duration) error { return nil }
			token, err := e.token(t.Context())
			if tc.want == "" {
				if token != "hf_oauth_x" || err != nil {
					t.Errorf("\n%s\ntoken(...): got %q, %v", tc.reason, token, err)
				}
				return
			}
			if outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.words) || strings.Contains(err.Error(), "hostile") {
				t.Errorf("\n%s\ntoken(...): want %s with %q, got %q, %v", tc.reason, tc.want, tc.words, token, err)
			}
		})
	}
	if leaked.Load() > 0 {
		t.Error("another host got the issuer's token")
	}
}

// TestIdentityRenews checks when a token is exchanged anew, and what becomes of one that
// cannot be.
func TestIdentityRenews(t *testing.T) {
	var down atomic.Bool
	var asked int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"hf_oauth_` + strings.Repeat("x", asked) + `","expires_in":3600}`))
	}))
	t.Cleanup(s.Close)
	e, err := Identity{Resource: "models-bot", Subject: func() (string, error) { return "subject", nil }}.exchange(Options{Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	e.now = func() time.Time { return now }
	e.retries.Sleep = func(context.Context, time.Duration) error { return nil }
	steps := []struct {
		reason string
		after  time.Duration
		down   bool
		want   int // Exchanges so far.
		fails  bool
	}{
		{reason: "The first call exchanges.", want: 1},
		{reason: "A token is used again.", after: 54 * time.Minute, want: 1},
		{reason: "Five minutes before its end it is exchanged anew.", after: time.Minute, want: 2},
		{reason: "A Hub that is down then is tried once, and the token is used on.", after: 56 * time.Minute, down: true, want: 3},
		{reason: "It is not tried with each request.", after: time.Second, down: true, want: 3},
		{reason: "It is tried again soon.", after: time.Minute, down: true, want: 4},
		{reason: "A token that has ended is not used.", after: 5 * time.Minute, down: true, want: 4 + 20, fails: true},
		{reason: "Once the Hub is back, there is another.", want: 4 + 20 + 1},
	}
	for _, st := range steps {
		now = now.Add(st.after)
		down.Store(st.down)
		token, err := e.token(t.Context())
		if (err != nil) != st.fails || (token == "") != st.fails {
			t.Fatalf("\n%s\ntoken(...): got %q, %v", st.reason, token, err)
		}
		if diff := cmp.Diff(st.want, asked); diff != "" {
			t.Fatalf("\n%s\nexchanges: -want, +got:\n%s", st.reason, diff)
		}
	}
}

// TestRenewedToken has a Hub take another token than before, which the file follows a
// while later.
func TestRenewedToken(t *testing.T) {
	var taken, own atomic.Value
	taken.Store("hf_first")
	own.Store("hf_first")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+taken.Load().(string) { //nolint:forcetypeassert // It is stored above.
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"id":"org/m","sha":"` + strings.Repeat("1a", 20) + `"}`))
	}))
	t.Cleanup(s.Close)
	client := func(patience time.Duration) *Client {
		c, err := New(Options{Endpoint: s.URL, TokenFrom: func(context.Context) (string, error) { return own.Load().(string), nil }}) //nolint:forcetypeassert // As above.
		if err != nil {
			t.Fatal(err)
		}
		own, ok := c.http.Transport.(*tokenTransport)
		if !ok {
			t.Fatal("want the client's own transport")
		}
		own.patience = patience
		return c
	}
	c := client(time.Minute)
	if _, err := c.Resolve(t.Context(), "org/m", "main"); err != nil {
		t.Fatal(err)
	}
	taken.Store("hf_second")
	time.AfterFunc(700*time.Millisecond, func() { own.Store("hf_second") })
	if _, err := c.Resolve(t.Context(), "org/m", "main"); err != nil {
		t.Errorf("Resolve(...): want the renewed token to be used, got %v", err)
	}
	// A token that was never accepted is not waited for, and another not for ever.
	taken.Store("hf_third")
	for name, c := range map[string]*Client{"new": client(time.Hour), "old": c} {
		if name == "old" {
			c.http.Transport.(*tokenTransport).patience = time.Second //nolint:forcetypeassert // As above.
		}
		if _, err := c.Resolve(t.Context(), "org/m", "main"); outcome.ReasonOf(err) != outcome.Unauthorized {
			t.Errorf("%s client: want Unauthorized, got %v", name, err)
		}
	}
}
