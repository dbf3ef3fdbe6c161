package stream

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// gate makes a world's model one that needs a grant.
func (w *streamWorld) gate(t *testing.T) {
	t.Helper()
	settings := filepath.Join(w.dir, "models", streamModel, "hub.json")
	if err := os.WriteFile(settings, []byte(`{"gated": "manual", "tokens": ["hf_granted"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestGatedStream has a run read a model that its token gives no access to: the
// Hub lists it, with masks for hashes.
func TestGatedStream(t *testing.T) {
	var uploads atomic.Int64
	inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	w := newStreamWorld(t, streamFiles(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			uploads.Add(1)
		}
		inner.ServeHTTP(rw, r)
	}))
	w.gate(t)
	for _, token := range []string{"", "hf_token"} {
		w.run.Source.TokenFile = tokenFile(t, token)
		_, err := w.stream.Run(t.Context(), w.run)
		if outcome.ReasonOf(err) != outcome.Gated || !strings.Contains(err.Error(), "accept its terms") {
			t.Errorf("token %q: want Gated with the cure, got %v", token, err)
		}
	}
	if n := uploads.Load(); n != 0 {
		t.Errorf("want nothing to be moved, got %d requests that change the registry", n)
	}
	w.run.Source.TokenFile = tokenFile(t, "hf_granted")
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("with access: %v", err)
	}
	if diff := len(w.pulled(t, result.Digest)) - len(streamFiles()); diff != 0 {
		t.Errorf("with access: want all files, got %d more", diff)
	}
}

// TestStreamIdentity has a run read a gated model without a stored token: it exchanges the
// token of its service account, which the kubelet renews, for tokens of the Hub that end
// several times while files are on their way.
func TestStreamIdentity(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := newStreamWorld(t, streamFiles(), nil)
	settings := filepath.Join(w.dir, "models", streamModel, "hub.json")
	if err := os.WriteFile(settings, []byte(`{"gated": "manual", "resources": ["models-bot"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const issuer, subject = "https://oidc.example.com", "system:serviceaccount:kitops-runs:models"
	w.hub.SetPublishers(testhub.Publisher{
		Resource: "models-bot", Issuer: issuer, Audience: w.run.Source.Endpoint, Subject: subject, Key: &key.PublicKey, Life: 2 * time.Second,
	})
	path := filepath.Join(t.TempDir(), "hub-identity")
	mount := func(life time.Duration) {
		now := time.Now()
		token, err := testhub.SignToken(key, map[string]any{
			"iss": issuer, "sub": subject, "aud": []string{w.run.Source.Endpoint}, "nbf": now.Add(-time.Second).Unix(), "exp": now.Add(life).Unix(),
		})
		if err := errors.Join(err, os.WriteFile(path+".new", []byte(token), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Error(err)
		}
	}
	mount(3 * time.Second)
	renewed := time.AfterFunc(1500*time.Millisecond, func() { mount(time.Hour) })
	defer renewed.Stop()
	w.run.Source.TokenFile, w.run.Source.Identity = "", &pipeline.Identity{File: path, Resource: "models-bot"}
	w.hub.SetFault(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/resolve/") {
				// The files together take longer than a token lives.
				<-time.After(700 * time.Millisecond)
			}
			next.ServeHTTP(rw, r)
		})
	})
	w.stream.large.Max, w.stream.small.Max = 1, 1
	result, err := pipeline.Masked(w.stream).Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	if diff := cmp.Diff(streamFiles(), w.pulled(t, result.Digest)); diff != "" {
		t.Errorf("Run(...): -want, +got files:\n%s", diff)
	}
	if n := w.hub.Exchanges(); n < 2 {
		t.Errorf("want the Hub's tokens to end in this run, got %d exchanges", n)
	}
	if strings.Contains(w.log.String(), "hf_oauth_") || strings.Contains(w.log.String(), "eyJ") {
		t.Errorf("the log shows a token:\n%s", w.log)
	}
}
