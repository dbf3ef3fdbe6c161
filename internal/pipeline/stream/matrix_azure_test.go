package stream

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/azureblob"
)

// fromAzureBlob has a run read the files from a container of Azure Blob Storage.
func fromAzureBlob(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	b := azureblob.New()
	b.Public = true
	for name, content := range files {
		b.Put("tiny/"+name, []byte(content))
	}
	h, setFault := harmed(b)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.run.Source = pipeline.Source{AzureBlob: &pipeline.AzureBlobSource{
		Account: azureblob.Account, Container: azureblob.Container, Prefix: "tiny", Endpoint: server.URL,
	}}
	return servedSource{
		setFault: setFault,
		lists:    func(r *http.Request) bool { return r.URL.Query().Get("comp") == "list" },
		sends:    func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/tiny/") },
		change: func() {
			for name, content := range otherBytes(files) {
				b.Put("tiny/"+name, content)
			}
		},
	}
}
