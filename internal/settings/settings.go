// Package settings resolves an Artifact and its ProviderConfig into one value:
// which registry and Hub it uses and how they are reached, what its runs get,
// and whether it is admitted. Nothing after that asks which of the two says so.
package settings

import (
	"cmp"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
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

	// What follows is resolved, and read from Secrets when it is needed.
	cached    client.Reader
	secrets   *secretReader
	config    *providerConfig
	registry  endpoint
	hub       hubEndpoint
	source    *endpoint // Nil where the source is no registry.
	sourceErr error     // Why source.oci names no artifact.
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
	s := Settings{KitImage: r.Images.Kit, cached: r.Cached, secrets: &secretReader{kube: r.Direct, memory: r.Credentials}}
	config, err := readConfig(ctx, r.Cached, a)
	if err != nil {
		return s, err
	}
	s.config = config
	if err := config.admit(ctx, r.Cached, a); err != nil {
		return s, err
	}
	if err := r.admitConnectionSecret(ctx, a); err != nil {
		return s, err
	}
	s.ConfigHost, s.RepositoryPrefix, s.Adopts = config.host(), config.prefixFor(a), config.adopts
	s.KitImage = cmp.Or(config.Job.KitImage, r.Images.Kit)
	s.registry, s.hub = config.registryFor(a), config.hubFor(a)
	s.source, s.sourceErr = config.sourceFor(a)
	s.Effective = config.effective(s.registry)
	s.Effective.WorkerImage = cmp.Or(config.Job.WorkerImage, r.Images.Worker)
	if s.Registry, err = s.secrets.registryOptions(ctx, s.registry); err != nil {
		return s, err
	}
	s.Registry.Pushes = !OnlyObserves(a) && !meta.WasDeleted(a)
	return s, s.addSecrets(ctx)
}

// Origin returns the origin of an Artifact's registry from the cache alone, and
// reports whether it is known.
func (r *Resolver) Origin(ctx context.Context, a *modelv1alpha1.Artifact) (string, bool) {
	config, err := readConfig(ctx, r.Cached, a)
	if err != nil {
		return "", false
	}
	e := config.registryFor(a)
	return registry.Origin(e.host, e.plainHTTP), true
}

// Hub returns how the controller connects to the Artifact's Hub.
func (s Settings) Hub(ctx context.Context) (hub.Options, error) {
	return s.secrets.hubOptions(ctx, s.hub)
}

// Admits reports whether the ProviderConfig admits another Artifact that uses it.
func (s Settings) Admits(ctx context.Context, other *modelv1alpha1.Artifact) bool {
	return s.config.admit(ctx, s.cached, other) == nil
}
