//go:build linux

package node

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

// buildProbe makes the probe's image.
func buildProbe(t *testing.T, reference string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "probe.tar")
	if err := images.Build(t.Context(), file, images.Options{
		Name: reference, Programs: map[string]string{"/probe": "./testdata/probe"}, Entrypoint: []string{"/probe"}, User: "1001",
	}); err != nil {
		t.Fatal(err)
	}
	return file
}

// loadProbe gives the probe's image to the node.
func loadProbe(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	const reference = "registry.local/probe:1"
	if err := c.LoadImage(t.Context(), buildProbe(t, reference)); err != nil {
		t.Fatal(err)
	}
	return reference
}

// pushProbe pushes the probe's image to the registry, for the node to pull.
func pushProbe(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	reference := c.RegistryHost() + "/probe:1"
	image, err := tarball.ImageFromPath(buildProbe(t, reference), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := layout.Write(t.TempDir(), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "1"})); err != nil {
		t.Fatal(err)
	}
	from, err := oci.New(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	to, err := remote.NewRepository(c.RegistryHost() + "/probe")
	if err != nil {
		t.Fatal(err)
	}
	to.PlainHTTP, to.Client = true, &auth.Client{Client: &http.Client{Transport: transport(t, c)}}
	if _, err := oras.Copy(t.Context(), from, "1", to, "1", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	return reference
}

// transport reaches into the cluster and trusts its authority.
func transport(t *testing.T, c *cluster.Cluster) *http.Transport {
	t.Helper()
	ca, err := os.ReadFile(c.HubCAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Transport{
		DialContext: c.DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
}

// askRegistries asks both registries for their version of the protocol.
func askRegistries(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	password, err := c.RegistryPassword()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		host   string
		user   string
		want   int
	}{
		"Open":         {reason: "Anyone may use the open registry.", host: c.RegistryHost(), want: http.StatusOK},
		"NoPassword":   {reason: "The other one wants to know who asks.", host: c.AuthRegistryHost(), want: http.StatusUnauthorized},
		"WithPassword": {reason: "It knows its user.", host: c.AuthRegistryHost(), user: c.RegistryUser(), want: http.StatusOK},
	}
	client := &http.Client{Transport: transport(t, c)}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+tc.host+"/v2/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.user != "" {
				request.SetBasicAuth(tc.user, password)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatalf("\n%s\nGet(...): %v", tc.reason, err)
			}
			response.Body.Close()
			if response.StatusCode != tc.want {
				t.Errorf("\n%s\nGet(...): want %d, got %s", tc.reason, tc.want, response.Status)
			}
		})
	}
}

// askHub puts a model on the Hub and reads it back, by HTTP and, as clients do
// that insist on it, from https://huggingface.co.
func askHub(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	dir := filepath.Join(c.HubDir(), "models", "org", "name", "main")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport(t, c)}
	for _, url := range []string{c.HubURL(), "https://" + c.HubHost()} {
		response, err := client.Get(url + "/org/name/resolve/main/model.safetensors")
		if err != nil {
			t.Errorf("Get(%s): %v", url, err)
			continue
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(data) != "weights" {
			t.Errorf("Get(%s): want %q, got %s: %q, error %v", url, "weights", response.Status, data, err)
		}
	}
}
