// Package platform puts the provider on a cluster, the local one or one that
// exists, and says how its registry and its Hub are reached: for the end-to-end
// tests and the demo.
package platform

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	crossplane "github.com/crossplane/crossplane/apis/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

const (
	// ProviderNamespace is where the provider runs.
	ProviderNamespace = "provider-kitops"

	// imageName is the provider's image in examples/install.
	imageName = "provider-kitops:dev"

	// fieldOwner owns what is applied here.
	fieldOwner = client.FieldOwner("provider-kitops-platform")

	// readyTimeout bounds how long the provider may take until it is ready.
	readyTimeout = 3 * time.Minute
)

// A Platform is a cluster with the provider on it.
type Platform struct {
	// Client has all rights on the cluster.
	Client client.Client

	// REST is how Client reaches the cluster.
	REST *rest.Config

	// RegistryHost is the registry as Pods reach it.
	RegistryHost string

	// Config is a ClusterProviderConfig's spec for the registry and the Hub.
	Config v1alpha1.ClusterProviderConfigSpec

	// KitIs says which kit the Kit pipeline runs.
	KitIs string

	// transport reaches the registry from here.
	transport http.RoundTripper

	// hosts are names that the provider's own Pod must resolve.
	hosts []corev1.HostAlias

	// root is the folder of the source tree.
	root string

	log io.Writer
}

// Repository returns a repository of the platform's registry, as oras-go
// reaches it from here. The credential is empty for an open registry.
func (p *Platform) Repository(host, name string, credential auth.Credential) (*remote.Repository, error) {
	repository, err := remote.NewRepository(host + "/" + name)
	if err != nil {
		return nil, errors.Wrap(err, "cannot name the repository")
	}
	repository.PlainHTTP = true
	repository.Client = &auth.Client{
		Client:     &http.Client{Transport: p.transport},
		Credential: auth.StaticCredential(host, credential),
	}
	return repository, nil
}

// SigningKey returns the public key that the provider in a namespace has published.
func (p *Platform) SigningKey(ctx context.Context, namespace string) ([]byte, error) {
	m := &corev1.ConfigMap{}
	if err := p.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "provider-kitops-signing-key"}, m); err != nil {
		return nil, errors.Wrap(err, "cannot get the provider's public key")
	}
	return []byte(m.Data["provider-kitops.pub"]), nil
}

// newPlatform returns a platform whose client speaks to this cluster.
func newPlatform(config *rest.Config, log io.Writer) (*Platform, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apis.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), crossplane.AddToScheme(scheme)); err != nil {
		return nil, errors.Wrap(err, "cannot make a scheme")
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a client")
	}
	root, err := sourceRoot()
	return &Platform{Client: c, REST: config, root: root, log: log}, err
}

// sourceRoot returns the folder of the source tree that the working directory
// is in.
func sourceRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", errors.Wrap(err, "cannot get the working directory")
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "package", "crds")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("cannot find package/crds: run this inside of the source tree")
}

// installProvider applies the CRDs and examples/install with the image, and
// waits until the provider is ready.
func (p *Platform) installProvider(ctx context.Context, image string) error {
	crds, err := filepath.Glob(filepath.Join(p.root, "package", "crds", "*.yaml"))
	if err != nil {
		return errors.Wrap(err, "cannot list the CRDs")
	}
	for _, file := range append(crds, filepath.Join(p.root, "examples", "install", "without-crossplane.yaml")) {
		manifest, err := os.ReadFile(file)
		if err != nil {
			return errors.Wrap(err, "cannot read a manifest")
		}
		if err := p.Apply(ctx, bytes.ReplaceAll(manifest, []byte(imageName), []byte(image))); err != nil {
			return errors.Wrapf(err, "cannot apply %s", filepath.Base(file))
		}
	}
	return p.waitProvider(ctx)
}

// Apply applies the objects of a YAML stream, server-side.
func (p *Platform) Apply(ctx context.Context, manifest []byte) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(u)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.Wrap(err, "cannot decode the manifest")
		}
		if len(u.Object) == 0 {
			continue
		}
		if err := p.addHosts(u); err != nil {
			return err
		}
		err = p.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership)
		if err != nil {
			return errors.Wrapf(err, "cannot apply %s %s", u.GetKind(), u.GetName())
		}
	}
}

// addHosts gives the Pods of a Deployment the names that they must resolve.
func (p *Platform) addHosts(u *unstructured.Unstructured) error {
	if u.GetKind() != "Deployment" || len(p.hosts) == 0 {
		return nil
	}
	all := make([]any, 0, len(p.hosts))
	for _, h := range p.hosts {
		one, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&h)
		if err != nil {
			return errors.Wrap(err, "cannot encode the names of hosts")
		}
		all = append(all, one)
	}
	return errors.Wrap(unstructured.SetNestedSlice(u.Object, all, "spec", "template", "spec", "hostAliases"), "cannot set the names of hosts")
}

// waitProvider waits until the provider's Deployment is available.
func (p *Platform) waitProvider(ctx context.Context) error {
	d := &appsv1.Deployment{}
	err := wait.PollUntilContextTimeout(ctx, time.Second, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if err := p.Client.Get(ctx, types.NamespacedName{Namespace: ProviderNamespace, Name: "provider-kitops"}, d); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		return d.Status.ObservedGeneration >= d.GetGeneration() && d.Status.AvailableReplicas > 0, nil
	})
	conditions := make([]string, 0, len(d.Status.Conditions))
	for _, c := range d.Status.Conditions {
		conditions = append(conditions, string(c.Type)+"="+string(c.Status)+" "+c.Message)
	}
	return errors.Wrapf(err, "the provider is not ready: %s", strings.Join(conditions, "; "))
}
