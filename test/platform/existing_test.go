package platform

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestCheckContext(t *testing.T) {
	cases := map[string]struct {
		reason  string
		context string
		options ExistingOptions
		want    string
	}{
		"Kind":     {reason: "A cluster of kind is for trying things out.", context: "kind-demo"},
		"K3D":      {reason: "So is one of k3d.", context: "k3d-demo"},
		"Minikube": {reason: "So is minikube.", context: "minikube"},
		"None": {
			reason: "Without a context nothing is touched.",
			want:   "no current context",
		},
		"Unknown": {
			reason:  "Any other cluster may be somebody's production.",
			context: "production",
			want:    "write CONFIRM=production",
		},
		"OtherConfirmed": {
			reason:  "A confirmation is for one context.",
			context: "production",
			options: ExistingOptions{Confirm: "staging", Image: "registry.example.com/provider:v1"},
			want:    "write CONFIRM=production",
		},
		"ConfirmedWithoutImage": {
			reason:  "Nobody knows how an image gets there.",
			context: "staging",
			options: ExistingOptions{Confirm: "staging"},
			want:    "write IMAGE=its reference",
		},
		"Confirmed": {
			reason:  "Who names the context means it.",
			context: "staging",
			options: ExistingOptions{Confirm: "staging", Image: "registry.example.com/provider:v1"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := checkContext(tc.context, tc.options, loaderFor(tc.context) != nil)
			if (err != nil) != (tc.want != "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\ncheckContext(...): got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestLoaderFor(t *testing.T) {
	cases := map[string]struct {
		reason string
		want   string
	}{
		"kind-demo": {reason: "kind calls the cluster demo.", want: "kind load image-archive image.tar --name demo"},
		"k3d-demo":  {reason: "So does k3d.", want: "k3d image import image.tar --cluster demo"},
		"minikube":  {reason: "minikube has one cluster of its own name.", want: "minikube image load image.tar"},
	}
	for context, tc := range cases {
		t.Run(context, func(t *testing.T) {
			if got := strings.Join(loaderFor(context)(t.Context(), "image.tar").Args, " "); got != tc.want {
				t.Errorf("\n%s\nloaderFor(%q): got %q, want %q", tc.reason, context, got, tc.want)
			}
		})
	}
}

func TestServiceProxyGoesThroughTheAPIServer(t *testing.T) {
	var got *url.URL
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL }))
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL + "/prefix")
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &serviceProxy{base: base, next: http.DefaultTransport}}
	rsp, err := c.Get("http://" + inClusterRegistry + "/v2/models/qwen3/manifests/v1?n=1")
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
	const want = "/prefix/api/v1/namespaces/provider-kitops-demo/services/registry:5000/proxy/v2/models/qwen3/manifests/v1?n=1"
	if got == nil || got.String() != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
