package platform

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

const kitStubImage = "kitops-standin:dev"

// Local is a platform on the local cluster.
type Local struct {
	*Platform

	// Cluster that the platform is on.
	Cluster *cluster.Cluster
}

// NewLocal brings the local cluster up, in a state directory of its own, with
// the provider on it. The cluster ends with this process; Close takes it down.
func NewLocal(ctx context.Context, dir string, log io.Writer) (*Local, error) {
	c, err := cluster.Start(ctx, cluster.Options{Dir: dir, Log: log})
	if err != nil {
		return nil, err
	}
	l := &Local{Cluster: c}
	if err := l.install(ctx, log); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// NewCrossplane brings the local cluster up as NewLocal does, with Crossplane
// on it and without the provider. No managed resource is active.
func NewCrossplane(ctx context.Context, dir string, log io.Writer) (*Local, error) {
	c, err := cluster.Start(ctx, cluster.Options{Dir: dir, Log: log, Crossplane: true})
	if err != nil {
		return nil, err
	}
	l := &Local{Cluster: c}
	if err := l.installCrossplane(ctx, log); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// BlobFile returns the file that the open registry keeps a blob in, for all of
// its repositories. What is done to it shows at once: the registry caches nothing.
func (l *Local) BlobFile(d digest.Digest) string {
	return filepath.Join(l.Cluster.Dir(), "registry", "docker", "registry", "v2", "blobs", string(d.Algorithm()), d.Encoded()[:2], d.Encoded(), "data")
}

// Close takes the cluster down without a trace.
func (l *Local) Close() error { return l.Cluster.Stop() }

func (l *Local) install(ctx context.Context, log io.Writer) error {
	if err := l.reach(log); err != nil {
		return err
	}
	if err := l.loadImages(ctx, images.Provider(imageName), images.KitStub(kitStubImage)); err != nil {
		return err
	}
	if err := l.installProvider(ctx, imageName); err != nil {
		return err
	}
	return l.configure(ctx, ProviderNamespace)
}

func (l *Local) installCrossplane(ctx context.Context, log io.Writer) error {
	if err := l.reach(log); err != nil {
		return err
	}
	if err := l.loadImages(ctx, images.KitStub(kitStubImage)); err != nil {
		return err
	}
	return l.configure(ctx, l.Cluster.CrossplaneNamespace())
}

// reach says how the cluster and its registry are reached.
func (l *Local) reach(log io.Writer) error {
	config, err := l.Cluster.RESTConfig()
	if err != nil {
		return err
	}
	if l.Platform, err = newPlatform(config, log); err != nil {
		return err
	}
	l.RegistryHost = l.Cluster.RegistryHost()
	l.KitIs = "the stand-in for kit (test/fakes/kit): the local cluster pulls no images"
	l.transport = &http.Transport{DialContext: l.Cluster.DialContext}
	// The provider itself asks the Hub for revisions that an Artifact follows.
	l.hosts = []corev1.HostAlias{{IP: l.Cluster.HubIP(), Hostnames: []string{l.Cluster.HubHost()}}}
	return nil
}

// loadImages builds images and gives them to the node.
func (l *Local) loadImages(ctx context.Context, all ...images.Options) error {
	dir, err := os.MkdirTemp("", "provider-kitops-")
	if err != nil {
		return errors.Wrap(err, "cannot make a folder for images")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, image := range all {
		image.Dir = l.root
		file := filepath.Join(dir, "image.tar")
		if err := images.Build(ctx, file, image); err != nil {
			return errors.Wrapf(err, "cannot build image %s", image.Name)
		}
		if err := l.Cluster.LoadImage(ctx, file); err != nil {
			return errors.Wrapf(err, "cannot load image %s", image.Name)
		}
	}
	return nil
}

// configure says how Pods reach the registry and the Hub, which the local
// cluster has under the name and the certificate of huggingface.co. The
// certificate's authority is kept in a namespace that tenants do not write to.
func (l *Local) configure(ctx context.Context, namespace string) error {
	ca, err := os.ReadFile(l.Cluster.HubCAFile())
	if err != nil {
		return errors.Wrap(err, "cannot read the Hub's certificate authority")
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub-ca", Namespace: namespace},
		Data:       map[string][]byte{"ca.crt": ca},
	}
	if err := client.IgnoreAlreadyExists(l.Client.Create(ctx, secret)); err != nil {
		return errors.Wrap(err, "cannot create the Hub's certificate authority")
	}
	l.Config = v1alpha1.ClusterProviderConfigSpec{
		Registry: v1alpha1.ClusterRegistryConfig{
			Host:        v1alpha1.RegistryHost(l.RegistryHost),
			PlainHTTP:   true,
			Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
		},
		HuggingFace: &v1alpha1.ClusterHuggingFaceConfig{
			CertSecretRef: &xpv2.SecretReference{Name: secret.GetName(), Namespace: secret.GetNamespace()},
		},
		Job: &v1alpha1.ClusterJobConfig{
			KitImage:    kitStubImage,
			HostAliases: l.hosts,
		},
	}
	return nil
}
