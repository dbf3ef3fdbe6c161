package contract

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// speechFiles are the files of a model as models are: real weights in a
// folder, beside others whose name begins with theirs, a tokenizer, code,
// documents, empty files.
func speechFiles(t *testing.T) map[string]string {
	t.Helper()
	files, err := models.Speech(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Bytes that no other test has, so that they are in no registry before.
	more := make([]byte, 200_000)
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", t.Name())))).Read(more)
	for name, text := range map[string]string{
		"tokenizer.model":        "not really one",
		"empty.txt":              "",
		"onnx/model.onnx_data":   string(more),
		"onnx/config.json":       "{}",
		"onnx/empty.txt":         "",
		"scripts/run me.py":      "print('hello')\n",
		"deep/er/still/file.bin": string(more[:5000]),
	} {
		files[name] = text
	}
	return files
}

// addModel puts a model on the Hub and returns its name. A file hub.json says
// who may read it.
func addModel(t *testing.T, files map[string]string) string {
	t.Helper()
	model := "test-org/" + strings.NewReplacer("/", ".", "_", "-").Replace(t.Name())
	settings, ok := files["hub.json"]
	delete(files, "hub.json")
	if err := models.Write(suite.world.models, model, "main", files); err != nil {
		t.Fatal(err)
	}
	if ok {
		file := filepath.Join(suite.world.models, "models", filepath.FromSlash(model), "hub.json")
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return model
}

// fetch reads an artifact back from a registry.
func fetch(t *testing.T, r *testRegistry, repository, tag string) *pull.Artifact {
	t.Helper()
	repo, err := remote.NewRepository(r.host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	repo.Client = &auth.Client{
		Client:     http.DefaultClient,
		Credential: auth.StaticCredential(r.host, auth.Credential{Username: user, Password: password}),
	}
	a, err := pull.Pull(t.Context(), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
