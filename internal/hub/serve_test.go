package hub

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

const odd = "onnx/a #1% ü.json"

var weight = bytes.Repeat([]byte("weight"), 100_000)

// serve returns a Hub with a few models and a client for it that does not
// really wait.
func serve(t *testing.T, token string, o ...testhub.Option) (*testhub.Handler, *Client) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"org/open/main/README.md":              "---\nlicense: apache-2.0\n---\n",
		"org/open/main/config.json":            "{}",
		"org/open/main/empty.txt":              "",
		"org/open/main/model.safetensors":      string(weight),
		"org/open/main/" + odd:                 "[]",
		"org/open/refs%2Fpr%2F1/config.json":   `{"pr": 1}`,
		"org/gated/hub.json":                   `{"gated": "auto", "tokens": ["hf_in"]}`,
		"org/gated/main/config.json":           "{}",
		"org/private/hub.json":                 `{"private": true, "tokens": ["hf_in"]}`,
		"org/private/main/model.safetensors":   string(weight),
		"org/nolicense/main/config.json":       "{}",
		"org/licenses/main/README.md":          "---\nlicense:\n- cc-by-sa-3.0\n- gfdl\n---\n",
		"org/oddlicense/hub.json":              `{"license": "<script>"}`,
		"org/oddlicense/main/tokenizer.json":   "{}",
		"org/oddlicense/main/tokenizer_2.json": "{}",
	} {
		write(t, dir, "models/"+name, content)
	}
	h := testhub.NewHandler(dir, o...)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, newClient(t, Options{Endpoint: s.URL, Token: token, UserAgent: "test"})
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveDir returns a Hub over a folder, and a client for it.
func serveDir(t *testing.T, dir string, o ...testhub.Option) (*testhub.Handler, *Client) {
	t.Helper()
	h := testhub.NewHandler(dir, o...)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, newClient(t, Options{Endpoint: s.URL})
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.retry.Sleep = func(context.Context, time.Duration) error { return nil }
	return c
}

func reasonOf(err error) outcome.Reason {
	if err == nil {
		return ""
	}
	return outcome.ReasonOf(err)
}
