package platform

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// inClusterRegistry is the registry that an existing cluster gets for the
// demo, as its Pods reach it.
const inClusterRegistry = "registry.provider-kitops-demo.svc:5000"

// registryManifest runs the distribution registry in the cluster, without
// storage that lasts.
const registryManifest = `
apiVersion: v1
kind: Namespace
metadata:
  name: provider-kitops-demo
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: registry, namespace: provider-kitops-demo}
spec:
  selector: {matchLabels: {app: registry}}
  template:
    metadata: {labels: {app: registry}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: registry
          image: docker.io/library/registry:3.1.2
          ports: [{containerPort: 5000}]
          env: [{name: REGISTRY_STORAGE_DELETE_ENABLED, value: "true"}]
          readinessProbe: {httpGet: {path: /v2/, port: 5000}}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          volumeMounts: [{name: data, mountPath: /var/lib/registry}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: registry, namespace: provider-kitops-demo}
spec:
  selector: {app: registry}
  ports: [{port: 5000}]
`

// ExistingOptions say which cluster to use and how the image gets there.
type ExistingOptions struct {
	// Confirm is the name of the current context, for a cluster that is not
	// known to be one for trying things out.
	Confirm string

	// Image of the provider that the cluster can pull. Where it is empty the
	// image is built, and loaded by kind, k3d or minikube.
	Image string

	// Log is told what is done.
	Log io.Writer
}

// NewExisting puts the provider and a registry on the cluster of the current
// context. It changes nothing unless the context is one of kind, k3d or
// minikube, or is confirmed by its name.
func NewExisting(ctx context.Context, o ExistingOptions) (*Platform, error) {
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	raw, err := loading.RawConfig()
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the kubeconfig")
	}
	fmt.Fprintf(o.Log, "The current context is %q.\n", raw.CurrentContext)
	load := loaderFor(raw.CurrentContext)
	if err := checkContext(raw.CurrentContext, o, load != nil); err != nil {
		return nil, err
	}
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, errors.Wrap(err, "cannot use the kubeconfig")
	}
	p, err := newPlatform(config, o.Log)
	if err != nil {
		return nil, err
	}
	if o.Image == "" {
		o.Image = imageName
		if err := p.buildAndLoad(ctx, load); err != nil {
			return nil, err
		}
	}
	if p.transport, err = newServiceProxy(config); err != nil {
		return nil, err
	}
	if err := p.Apply(ctx, []byte(registryManifest)); err != nil {
		return nil, err
	}
	p.RegistryHost = inClusterRegistry
	p.KitIs = "KitOps' own image, " + artifact.DefaultKitImage
	p.Config = v1alpha1.ClusterProviderConfigSpec{Registry: v1alpha1.ClusterRegistryConfig{
		Host:        inClusterRegistry,
		PlainHTTP:   true,
		Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}}
	return p, p.installProvider(ctx, o.Image)
}

// checkContext refuses a cluster that was not named as one to use.
func checkContext(name string, o ExistingOptions, known bool) error {
	switch {
	case name == "":
		return errors.New("no current context: set one with kubectl config use-context")
	case !known && o.Confirm != name:
		return errors.Errorf("context %q is not one of kind, k3d or minikube: to use it all the same, write CONFIRM=%s", name, name)
	case !known && o.Image == "":
		return errors.Errorf("the image cannot be loaded into %q: build it with make image, push it where the cluster pulls from, and write IMAGE=its reference", name)
	}
	return nil
}

// A loader gives the images of a tarball to the nodes of a cluster.
type loader func(ctx context.Context, tarball string) *exec.Cmd

// loaderFor returns how images get into the cluster of a context, nil where
// that is not known.
func loaderFor(name string) loader {
	if cluster, ok := strings.CutPrefix(name, "kind-"); ok {
		return func(ctx context.Context, tarball string) *exec.Cmd {
			return exec.CommandContext(ctx, "kind", "load", "image-archive", tarball, "--name", cluster)
		}
	}
	if cluster, ok := strings.CutPrefix(name, "k3d-"); ok {
		return func(ctx context.Context, tarball string) *exec.Cmd {
			return exec.CommandContext(ctx, "k3d", "image", "import", tarball, "--cluster", cluster)
		}
	}
	if name == "minikube" {
		return func(ctx context.Context, tarball string) *exec.Cmd {
			return exec.CommandContext(ctx, "minikube", "image", "load", tarball)
		}
	}
	return nil
}

// buildAndLoad builds the provider's image and gives it to the cluster's nodes.
func (p *Platform) buildAndLoad(ctx context.Context, load loader) error {
	dir, err := os.MkdirTemp("", "provider-kitops-")
	if err != nil {
		return errors.Wrap(err, "cannot make a folder for the image")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "provider-kitops.tar")
	image := images.Provider(imageName)
	image.Dir = p.root
	if err := images.Build(ctx, file, image); err != nil {
		return err
	}
	cmd := load(ctx, file)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	return errors.Wrapf(cmd.Run(), "cannot load the image with %s", cmd.Args[0])
}

// A serviceProxy reaches the registry's Service through the API server, so
// that no port has to be forwarded.
type serviceProxy struct {
	base *url.URL
	next http.RoundTripper
}

func newServiceProxy(config *rest.Config) (*serviceProxy, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, errors.Wrap(err, "cannot find the API server")
	}
	next, err := rest.TransportFor(config)
	return &serviceProxy{base: base, next: next}, errors.Wrap(err, "cannot reach the API server")
}

// RoundTrip sends the request to the API server's proxy for the Service.
func (s *serviceProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Host = ""
	out.URL.Scheme, out.URL.Host = s.base.Scheme, s.base.Host
	out.URL.Path = s.base.JoinPath("/api/v1/namespaces/provider-kitops-demo/services/registry:5000/proxy", r.URL.Path).Path
	return s.next.RoundTrip(out)
}
