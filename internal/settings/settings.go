// Package settings resolves an Artifact and its ProviderConfig into one value: the
// registry, Hub and source of the Artifact and the credentials for them, what its
// runs get, and whether the ProviderConfig admits it. No other package decides
// which of the two sets something.
package settings

import (
	"cmp"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Settings of one Artifact for one reconcile. Fields are values. Methods read the
// Secrets that an idle Artifact does not need.
type Settings struct {
	// Registry is how the controller connects to the Artifact's registry.
	Registry registry.Options

	// ConfigHost is the host of the ProviderConfig's registry, which is not the
	// Artifact's where that names another.
	ConfigHost string

	// Adopts reports whether the ProviderConfig trusts the records in its registry;
	// see artifact.AnnotationAdopt. AdoptsAnyKey reports whether it does so whatever
	// key has signed them.
	Adopts, AdoptsAnyKey bool

	// Attestation is how the config has artifacts signed.
	Attestation Attestation

	// RunNamespace is the namespace in which the Artifact's runs execute: its own,
	// unless its ClusterProviderConfig names another in job.namespace. It is never
	// empty.
	RunNamespace string

	// KitImage is the image that has kit.
	KitImage string

	// Effective is what the ProviderConfig adds to the Artifact's spec for runs.
	Effective modelv1alpha1.Effective

	// Policies for what the Artifact packages and publishes; none for one that is
	// only observed, or being deleted.
	Policies policy.Set

	cached   client.Reader
	metadata client.Reader
	secrets  *secretReader
	config   *providerConfig

	// copiesAll reports whether runs get copies of all Secrets, since they execute in
	// another namespace than the Artifact's.
	copiesAll bool

	// ownCredentials reports whether the Artifact itself names the credentials for its
	// registry.
	ownCredentials bool

	// policyVersions are those of the other configs whose policies apply.
	policyVersions []string

	registry  endpoint
	hub       hubEndpoint
	source    *endpoint // Nil for a source that is not source.oci.
	sourceErr error     // Says why the reference of source.oci is invalid.
	folder    folderSecrets
}

// Images are those that runs use where a ClusterProviderConfig names no other.
type Images struct {
	// Kit is the image that has kit.
	Kit string

	// Worker is the image that has the worker.
	Worker string
}

// Values of artifact.AnnotationAdopt.
const (
	adoptTrusted = "true"
	adoptAnyKey  = "any-key"
)

// A Resolver resolves the Settings of Artifacts. It only reads.
type Resolver struct {
	// Cached reads what is watched: Artifacts, ProviderConfigs of either kind
	// and the metadata of namespaces.
	Cached client.Reader

	// Direct reads Secrets from the API server itself.
	Direct client.Reader

	// Metadata reads the metadata of Secrets and namespaces, which is all that is cached
	// of them.
	Metadata client.Reader

	// Credentials remembers credentials for registries, and signing keys; nil to
	// read the Secrets each time.
	Credentials *CredentialMemory

	// Identities of the provider at registries of clouds; nil for none.
	Identities *identity.Sources

	// Images of runs.
	Images Images

	// RunNamespaces are those in which runs may execute; none for all.
	RunNamespaces []string
}

// Resolve returns the Settings of an Artifact. It returns an error if its
// ProviderConfig or a Secret for its registry does not exist, or if the
// ProviderConfig does not admit it. With an error the Settings are incomplete: an
// Artifact can be deleted with them, and nothing else.
func (r *Resolver) Resolve(ctx context.Context, a *modelv1alpha1.Artifact) (Settings, error) {
	s := Settings{
		RunNamespace: a.GetNamespace(), KitImage: r.Images.Kit,
		cached: r.Cached, metadata: r.Metadata, secrets: &secretReader{kube: r.Direct, memory: r.Credentials, identities: r.Identities},
	}
	config, err := readConfig(ctx, r.Cached, a)
	if err != nil {
		return s, err
	}
	s.config, s.ownCredentials = config, ownCredentials(a) != nil
	s.RunNamespace = config.runNamespace(a)
	s.Effective.RunNamespace = s.RunNamespace
	if err := config.admit(ctx, r.Cached, a); err != nil {
		return s, err
	}
	if err := r.admitRunNamespace(a, s.RunNamespace); err != nil {
		return s, err
	}
	if err := r.admitConnectionSecret(ctx, a); err != nil {
		return s, err
	}
	if err := config.checkIdentity(); err != nil {
		return s, err
	}
	s.ConfigHost, s.AdoptsAnyKey = config.host(), config.cluster && config.adopt == adoptAnyKey
	s.Adopts = s.AdoptsAnyKey || config.adopt == adoptTrusted
	s.KitImage = cmp.Or(config.Job.KitImage, r.Images.Kit)
	s.registry, s.hub = config.registryFor(a), config.hubFor(a)
	s.source, s.sourceErr = config.sourceFor(a)
	s.folder = folderSecretsOf(a)
	if s.RunNamespace != a.GetNamespace() {
		s.copyAllSecrets()
	}
	s.Effective = config.effective(s.registry)
	s.Effective.SourceIdentity = config.sourceIdentity(a)
	s.Effective.RunNamespace = s.RunNamespace
	s.Effective.WorkerImage = cmp.Or(config.Job.WorkerImage, r.Images.Worker)
	if err := s.addPolicies(ctx, a); err != nil {
		return s, err
	}
	if s.Registry, err = s.secrets.registryOptions(ctx, s.registry); err != nil {
		return s, err
	}
	if !OnlyObserves(a) {
		s.Attestation = config.attestationFor(ctx, r.Cached, s.secrets)
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

// SourceRegistry returns how the controller connects to the registry and the repository of
// the Artifact's source.oci, with the credentials that a run reads it with.
func (s Settings) SourceRegistry(ctx context.Context) (registry.Options, error) {
	if s.source == nil || s.sourceErr != nil {
		return registry.Options{}, s.sourceErr
	}
	o, err := s.secrets.registryOptions(ctx, *s.source)
	if o.Confined = !s.config.knowsRegistry(o.Host); o.Confined {
		o.Cures = confinedCures
	}
	return o, err
}

// confinedCures are in terms of an Artifact whose source is followed.
var confinedCures = registry.Cures{
	NoCredentials: "name a Secret of type kubernetes.io/dockerconfigjson in spec.forProvider.source.oci.credentialsSecretRef",
	Credentials:   "check the Secret that spec.forProvider.source.oci.credentialsSecretRef names",
	Authority:     "put that authority's ca.crt into the Secret that spec.forProvider.source.oci.certSecretRef names",
	NoAuthority:   "correct the Secret that spec.forProvider.source.oci.certSecretRef names",
	Host:          "correct the host in spec.forProvider.source.oci.reference",
	PlainHTTP:     "set spec.forProvider.source.oci.plainHTTP if that is meant",
	Network: "the provider itself asks public registries only, and private ones that an administrator names: have one name this registry in policy.models.allow of the ClusterProviderConfig, " +
		"or write revisionPolicy: Pinned",
}

// Admits reports whether the ProviderConfig admits another Artifact that uses it.
func (s Settings) Admits(ctx context.Context, other *modelv1alpha1.Artifact) bool {
	return s.config.admit(ctx, s.cached, other) == nil
}
