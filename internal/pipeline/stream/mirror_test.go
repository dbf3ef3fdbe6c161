package stream

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestMirrorDigest has a run read the same model through two endpoints.
func TestMirrorDigest(t *testing.T) {
	w := newStreamWorld(t, streamFiles(), nil)
	mux := http.NewServeMux()
	mux.Handle("/mirror/", http.StripPrefix("/mirror", w.hub))
	mux.Handle("/cdn/", w.hub)
	mirror := httptest.NewServer(mux)
	t.Cleanup(mirror.Close)
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		var digests []string
		for _, endpoint := range []string{w.run.Source.Endpoint, mirror.URL + "/mirror/"} {
			run := w.run
			run.Format, run.Source.Endpoint = format, endpoint
			result, err := w.stream.Run(t.Context(), run)
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, result.Digest)
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: want one digest through both endpoints, got %s", format, digests)
		}
	}
}

// TestStreamMirror has a run read from a mirror of the Hub, below a path, with a
// token and an authority of its own, and write to a registry with another
// authority that wants a client certificate.
func TestStreamMirror(t *testing.T) {
	const token = "hf_mirrors_own"
	files := streamFiles()
	r := testregistry.Start(t, testregistry.Options{TLS: true, ClientCertificates: true, Users: []testregistry.User{{Name: "ada", Password: "correct horse"}}})
	w := newStreamWorld(t, files, nil)
	w.into(t, r)
	mux := http.NewServeMux()
	mux.Handle("/mirror/", http.StripPrefix("/mirror", wantToken(token, w.hub)))
	mux.Handle("/cdn/", w.hub)
	mirror := httptest.NewUnstartedServer(mux)
	mirror.Config.ErrorLog = log.New(io.Discard, "", 0)
	mirror.StartTLS()
	t.Cleanup(mirror.Close)
	w.hub.SetCDN("")
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mirror.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := w.run
	whole.Source.Endpoint, whole.Source.TokenFile, whole.Source.CAFile = mirror.URL+"/mirror", tokenFile(t, token), ca

	cases := map[string]struct {
		reason string
		change func(*pipeline.Run)
		want   outcome.Reason
		words  string
	}{
		"Whole":          {reason: "A run with all credentials should succeed.", change: func(*pipeline.Run) {}},
		"NoToken":        {reason: "A mirror without its token should fail the run.", change: func(r *pipeline.Run) { r.Source.TokenFile = "" }, want: outcome.NotFound, words: "tokenSecretRef"},
		"OtherToken":     {reason: "A mirror with another token should fail the run.", change: func(r *pipeline.Run) { r.Source.TokenFile = tokenFile(t, "hf_public") }, want: outcome.Unauthorized, words: "refused the token"},
		"NoCA":           {reason: "A mirror without its authority should be untrusted.", change: func(r *pipeline.Run) { r.Source.CAFile = "" }, want: outcome.Untrusted, words: "huggingFace.certSecretRef"},
		"RegistrysCA":    {reason: "The registry's authority should not be trusted for the mirror.", change: func(r *pipeline.Run) { r.Source.CAFile = r.Target.CAFile }, want: outcome.Untrusted, words: "huggingFace.certSecretRef"},
		"MirrorsCA":      {reason: "The mirror's authority should not be trusted for the registry.", change: func(r *pipeline.Run) { r.Target.CAFile = r.Source.CAFile }, want: outcome.Untrusted, words: "registry.certSecretRef"},
		"NoCertificate":  {reason: "A registry without its client certificate should fail the run.", change: func(r *pipeline.Run) { r.Target.CertificateFile, r.Target.KeyFile = "", "" }, want: outcome.Untrusted, words: "tls.crt and tls.key"},
		"NoRegistryUser": {reason: "A registry without its credentials should fail the run.", change: func(r *pipeline.Run) { r.Target.DockerConfig = "" }, want: outcome.Unauthorized, words: "registry.credentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := whole
			tc.change(&run)
			run.Target.StagingTag = strings.ToLower(name)
			result, err := pipeline.Masked(w.stream).Run(t.Context(), run)
			if tc.want == "" && err == nil {
				if diff := cmp.Diff(files, w.pulled(t, result.Digest)); diff != "" {
					t.Errorf("\n%s\nRun(...): -want, +got files:\n%s", tc.reason, diff)
				}
				return
			}
			if err == nil || outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("\n%s\nRun(...): want %q with %q, got %v", tc.reason, tc.want, tc.words, err)
			}
		})
	}
	for _, secret := range []string{token, "correct horse"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is in the log:\n%s", w.log)
		}
	}
}

// wantToken lets nobody in without a token, as a mirror of one's own does.
func wantToken(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+token {
			r.Header.Del("Authorization")
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
}
