package pull

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestRun(t *testing.T) {
	files := modelFiles()
	part := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, n := range names {
			out[n] = files[n]
		}
		return out
	}
	docs := part("README.md", "LICENSE", "empty.txt")
	weights := part("model.safetensors", "copy/same.safetensors", "config.json", "onnx/a #1% ü.json", "onnx/deep/model.onnx")
	kit := func(compression string) []content {
		const t0 = "application/vnd.kitops.modelkit."
		return []content{tarLayer(t, t0+"docs.v1.tar"+compression, docs), tarLayer(t, t0+"model.v1.tar"+compression, weights)}
	}
	cases := map[string]struct {
		reason string
		config string
		layers []content
	}{
		"ModelPackRaw":   {reason: "Raw layers should be pulled, two of them with the same content.", config: modelPack, layers: rawLayers(files)},
		"ModelPackTar":   {reason: "Archives should be pulled, as kit packs them by default.", config: modelPack, layers: []content{tarLayer(t, specv1.MediaTypeModelDoc, docs), tarLayer(t, specv1.MediaTypeModelWeight, weights)}},
		"ModelPackGzip":  {reason: "Archives in gzip should be pulled.", config: modelPack, layers: []content{tarLayer(t, specv1.MediaTypeModelDocGzip, docs), tarLayer(t, specv1.MediaTypeModelWeightGzip, weights)}},
		"ModelPackZstd":  {reason: "Archives in Zstandard should be pulled.", config: modelPack, layers: []content{tarLayer(t, specv1.MediaTypeModelDocZstd, docs), tarLayer(t, specv1.MediaTypeModelWeightZstd, weights)}},
		"ModelPackMixed": {reason: "Raw layers and archives should be pulled together.", config: modelPack, layers: append(rawLayers(weights), tarLayer(t, specv1.MediaTypeModelDoc, docs))},
		"ModelKit":       {reason: "A ModelKit should be pulled.", config: modelKit, layers: kit("")},
		"ModelKitGzip":   {reason: "A ModelKit in gzip should be pulled, as older versions of kit pack by default.", config: modelKit, layers: kit("+gzip")},
		"ModelKitZstd":   {reason: "A ModelKit in Zstandard should be pulled, as newer versions of kit can pack.", config: modelKit, layers: kit("+zstd")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			d := f.push(t, tc.config, tc.layers...)
			dir := filepath.Join(t.TempDir(), "model")
			p, log := f.pulling(dir, d)
			got, err := p.Run(t.Context())
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, log)
			}
			if got != (Result{Digest: d, Files: len(files), Bytes: sizeOf(files)}) {
				t.Errorf("\n%s\nRun(...): got %s", tc.reason, got)
			}
			holdsFiles(t, dir, files)
			checkAgain(t, f, dir, d)
		})
	}
}

// checkAgain checks that another pull sends no requests.
func checkAgain(t *testing.T, f *front, dir string, d digest.Digest) {
	t.Helper()
	f.breaks(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	p, log := f.pulling(dir, d)
	if got, err := p.Run(t.Context()); err != nil || got.Digest != d {
		t.Errorf("Run(...) again: %v, %v\n%s", got, err, log)
	}
	if asked := f.requests("/"); len(asked) > 0 {
		t.Errorf("Run(...) again: asked %v", asked)
	}
	entries, err := os.ReadDir(filepath.Join(dir, partialDir))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func sizeOf(files map[string]string) int64 {
	n := 0
	for _, c := range files {
		n += len(c)
	}
	return int64(n)
}

func TestRunByTag(t *testing.T) {
	f := newFront(t, open, false)
	dir := t.TempDir()
	for _, version := range []string{"one", "two"} {
		want := map[string]string{"version": version}
		d := f.push(t, modelPack, rawLayers(want)...)
		p, _ := f.pulling(dir, d)
		p.options.Reference = f.host() + "/" + testRepository + ":v1"
		for range 2 {
			if got, err := p.Run(t.Context()); err != nil || got.Digest != d {
				t.Errorf("Run(...): %v, %v", got, err)
			}
		}
		holdsFiles(t, dir, want)
		if asked := f.requests("/blobs/"); len(asked) != 1 {
			t.Errorf("want the file to be fetched once, got %v", asked)
		}
	}
}

func TestCredentials(t *testing.T) {
	f := newFront(t, guarded, false)
	files := map[string]string{"config.json": "{}"}
	d := f.push(t, modelPack, rawLayers(files)...)
	wrong := strings.ReplaceAll(string(dockerConfigOf(f.host())), testPassword, "WRONGPASSWORD")
	cases := map[string]struct {
		reason  string
		file    string
		config  string
		want    outcome.Reason
		message string
	}{
		"ConfigJSON":   {reason: "A config.json should be read, as in the folder of DOCKER_CONFIG.", file: "config.json", config: string(dockerConfigOf(f.host()))},
		"MountedAsIs":  {reason: "A .dockerconfigjson should be read, as in a mounted Secret.", file: ".dockerconfigjson", config: string(dockerConfigOf(f.host()))},
		"None":         {reason: "The error should name the flag for credentials.", file: "other", want: outcome.Unauthorized, message: "--docker-config"},
		"OtherHost":    {reason: "The credentials of another host should not be used.", file: "config.json", config: string(dockerConfigOf("other.example.com")), want: outcome.Unauthorized, message: "no entry for " + f.host()},
		"Wrong":        {reason: "The error should not contain the password.", file: "config.json", config: wrong, want: outcome.Unauthorized, message: "refused the credentials"},
		"NotJSON":      {reason: "An error should be returned for a file that is no JSON.", file: "config.json", config: "WRONGPASSWORD", want: outcome.Unauthorized, message: "config.json"},
		"NoSuchFolder": {reason: "Requests should be anonymous without the folder.", want: outcome.Unauthorized, message: "wants credentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			secrets := filepath.Join(t.TempDir(), "secrets")
			if tc.file != "" {
				if err := os.Mkdir(secrets, 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(secrets, tc.file), []byte(tc.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			p, log := f.pulling(dir, d)
			p.options.DockerConfig = secrets
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			if tc.want == "" {
				holdsFiles(t, dir, files)
			}
			if text := fmt.Sprint(err, log); strings.Contains(text, testPassword) || strings.Contains(text, "WRONGPASSWORD") {
				t.Errorf("\n%s\nthe password is shown: %s", tc.reason, text)
			}
		})
	}
}

// checkError checks an error's reason, and that its message is one line with a text.
func checkError(t *testing.T, why string, err error, want outcome.Reason, message string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("\n%s\nRun(...): %v", why, err)
	case want != "" && (err == nil || outcome.ReasonOf(err) != want || !strings.Contains(err.Error(), message) || strings.Contains(err.Error(), "\n")):
		t.Errorf("\n%s\nRun(...): want %s with %q, got %v: %v", why, want, message, outcome.ReasonOf(err), err)
	}
}

func TestTLS(t *testing.T) {
	plain := newFront(t, open, false)
	files := map[string]string{"config.json": "{}"}
	d := plain.push(t, modelPack, rawLayers(files)...)
	secure := newFront(t, open, true)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	noCA := filepath.Join(t.TempDir(), "no.crt")
	if err := os.WriteFile(noCA, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason  string
		front   *front
		ca      string
		want    outcome.Reason
		message string
	}{
		"Trusted":   {reason: "The authority of --ca-file should be trusted.", front: secure, ca: ca},
		"Untrusted": {reason: "The error should name the flag for authorities.", front: secure, want: outcome.Untrusted, message: "--ca-file"},
		"NotPEM":    {reason: "An error should be returned for a file without certificates.", front: secure, ca: noCA, want: outcome.Unsupported, message: "--ca-file"},
		"Missing":   {reason: "An error should be returned for a file that does not exist.", front: secure, ca: ca + "x", want: outcome.Internal, message: "certificate authorities"},
		"PlainHTTP": {reason: "The error should name the flag for plain HTTP.", front: plain, want: outcome.Untrusted, message: "--plain-http"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, _ := tc.front.pulling(t.TempDir(), d)
			p.options.PlainHTTP, p.options.CAFile = false, tc.ca
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
		})
	}
}
