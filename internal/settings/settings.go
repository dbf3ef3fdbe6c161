// Package settings resolves an Artifact and its ProviderConfig into one value:
// which registry and Hub it uses and how they are reached, what its runs get,
// and whether it is admitted. Nothing after that asks which of the two says so.
package settings

import (
	"cmp"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Settings of one Artifact, as its spec and its ProviderConfig say together. They
// are valid for one reconcile. The fields are values; what needs Secrets that an
// idle Artifact does not use is read by methods.
type Settings struct {
	// Registry is how the controller connects to the Artifact's registry.
	Registry registry.Options

	// ConfigHost is the host of the ProviderConfig's registry, which is not the
	// Artifact's where that names another.
	ConfigHost string

	// RepositoryPrefix starts the name of each repository that the ProviderConfig
	// lets the Artifact's namespace use; "" allows any.
	RepositoryPrefix string

	// Adopts reports whether the ProviderConfig has records in the registry
	// believed; see artifact.AnnotationAdopt.
	Adopts bool

	// KitImage is the image that has kit.
	KitImage string

	// Effective is what the ProviderConfig adds to the Artifact's spec for runs.
	Effective modelv1alpha1.Effective

	resolver *Resolver
	config   *providerConfig
	artifact *modelv1alpha1.Artifact
}

// Images are those that runs use where a ClusterProviderConfig names no other.
type Images struct {
	// Kit is the image that has kit.
	Kit string

	// Worker is the image that has the worker.
	Worker string
}

// A Resolver resolves the Settings of Artifacts. It only reads.
type Resolver struct {
	// Cached reads what is watched: Artifacts, ProviderConfigs of either kind
	// and the metadata of namespaces.
	Cached client.Reader

	// Direct reads Secrets from the API server itself.
	Direct client.Reader

	// Metadata reads the metadata of Secrets, which is all that is cached of them.
	Metadata client.Reader

	// Credentials remembers how registries are reached; nil to read the Secrets
	// each time.
	Credentials *CredentialMemory

	Images Images
}

// Resolve returns the Settings of an Artifact. It returns an error if its
// ProviderConfig or a Secret for its registry does not exist, or if the Artifact
// asks for something that it may not have. The Settings that it returns with an
// error have what was resolved before.
func (r *Resolver) Resolve(ctx context.Context, a *modelv1alpha1.Artifact) (Settings, error) {
	s := Settings{KitImage: r.Images.Kit, resolver: r, artifact: a}
	config, err := r.readConfig(ctx, a)
	if err != nil {
		return s, err
	}
	config.memory = r.Credentials
	s.config = config
	if err := config.admit(ctx, r.Cached, a); err != nil {
		return s, err
	}
	if err := r.admitConnectionSecret(ctx, a); err != nil {
		return s, err
	}
	s.ConfigHost, s.RepositoryPrefix, s.Adopts = config.host, config.prefixFor(a), config.adopts
	s.KitImage = cmp.Or(config.kitImage, r.Images.Kit)
	s.Effective = config.effective(a)
	s.Effective.WorkerImage = cmp.Or(config.workerImage, r.Images.Worker)
	if s.Registry, err = config.registryOptions(ctx, r.Direct, a); err != nil {
		return s, err
	}
	config.addSecrets(&s.Effective, a)
	return s, config.addSource(ctx, r.Direct, &s.Effective, a)
}

// Origin returns the origin of an Artifact's registry from the cache alone, and
// reports whether it is known.
func (r *Resolver) Origin(ctx context.Context, a *modelv1alpha1.Artifact) (string, bool) {
	config, err := r.readConfig(ctx, a)
	if err != nil {
		return "", false
	}
	c := config.forArtifact(a)
	return registry.Origin(c.host, c.plainHTTP), true
}

// ConfigHash identifies the state of the ProviderConfig and of all Secrets that a
// run uses. It returns an error that names the Secret which does not exist. It is
// called where a run is about to begin, so it reads the Secrets from the API
// server itself, and SecretData does after it.
func (s Settings) ConfigHash(ctx context.Context) (string, error) {
	s.config.memory, s.config.read = nil, nil
	return s.config.hash(ctx, s.resolver.Direct, s.artifact)
}

// SecretData returns the data of the Secret that a run gets of credentials which
// it cannot use where they are; nothing if it needs none.
func (s Settings) SecretData(ctx context.Context) (map[string][]byte, error) {
	return s.config.copies(ctx, s.resolver.Direct, s.artifact)
}

// Hub returns how the controller connects to the Artifact's Hub.
func (s Settings) Hub(ctx context.Context) (hub.Options, error) {
	return s.config.hubOptions(ctx, s.resolver.Direct, s.artifact)
}

// Admits reports whether the ProviderConfig admits another Artifact that uses it.
func (s Settings) Admits(ctx context.Context, other *modelv1alpha1.Artifact) bool {
	return s.config.admit(ctx, s.resolver.Cached, other) == nil
}

// readConfig reads the ProviderConfig of either kind that the Artifact names.
func (r *Resolver) readConfig(ctx context.Context, a *modelv1alpha1.Artifact) (*providerConfig, error) {
	ref := a.GetProviderConfigReference()
	if ref == nil {
		return nil, errors.New("no ProviderConfig is named: write spec.providerConfigRef with kind and name")
	}
	switch ref.Kind {
	case v1alpha1.ProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ProviderConfig{}
		err := r.Cached.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, pc)
		return fromProviderConfig(pc), describeMissing(err, ref)
	case v1alpha1.ClusterProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ClusterProviderConfig{}
		err := r.Cached.Get(ctx, types.NamespacedName{Name: ref.Name}, pc)
		return fromClusterProviderConfig(pc), describeMissing(err, ref)
	}
	return nil, errors.Errorf("spec.providerConfigRef.kind is %q: write ProviderConfig or ClusterProviderConfig", ref.Kind)
}
