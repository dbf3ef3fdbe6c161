package settings

import (
	"strconv"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A providerConfig is what a ProviderConfig or a ClusterProviderConfig says,
// with the namespaces of its Secrets filled in.
type providerConfig struct {
	// version of the ProviderConfig itself.
	version string

	// name of the ProviderConfig.
	name string

	// cluster says that it is a ClusterProviderConfig: the Secrets are not in
	// the Artifact's namespace.
	cluster bool

	// namespaceSelector and repositoryPrefix bound who may do what.
	namespaceSelector *metav1.LabelSelector
	repositoryPrefix  string

	// tenants says what Artifacts may ask for; nil for the defaults.
	tenants *v1alpha1.TenantPolicy

	// adopts says that records in the registry are believed; see
	// artifact.AnnotationAdopt.
	adopts bool

	host                string
	plainHTTP           bool
	registryCredentials *secretKey
	registryCerts       *secretKey // All that is in the Secret.

	// options of the Artifact's registry, and the Secrets behind them, once
	// they were read.
	options *registry.Options
	read    map[types.NamespacedName]*corev1.Secret

	// memory of what is in Secrets; nil to read them.
	memory *CredentialMemory

	hubEndpoint string
	hubToken    *secretKey
	hubCA       *secretKey

	job         v1alpha1.ClusterJobConfig
	kitImage    string
	workerImage string
}

// describeMissing tells a ProviderConfig that is not there from one that cannot
// be read.
func describeMissing(err error, ref *xpv2.ProviderConfigReference) error {
	if kerrors.IsNotFound(err) {
		return outcome.Errorf(outcome.ConfigMissing, "%s %q does not exist: create it, or write another in spec.providerConfigRef", ref.Kind, ref.Name)
	}
	return errors.Wrapf(err, "cannot get %s %q", ref.Kind, ref.Name)
}

// fromProviderConfig returns what a ProviderConfig says.
func fromProviderConfig(pc *v1alpha1.ProviderConfig) *providerConfig {
	local := func(r *xpv2.LocalSecretReference, key string) *secretKey {
		if r == nil {
			return nil
		}
		// A tenant's ProviderConfig reads Secrets of its own namespace only.
		return &secretKey{NamespacedName: types.NamespacedName{Namespace: pc.GetNamespace(), Name: r.Name}, key: key}
	}
	r := pc.Spec.Registry
	out := &providerConfig{
		name:                pc.GetName(),
		version:             versionOf(pc),
		adopts:              pc.GetAnnotations()[artifact.AnnotationAdopt] == "true",
		host:                string(r.Host),
		plainHTTP:           r.PlainHTTP,
		registryCredentials: local(r.Credentials.SecretRef, corev1.DockerConfigJsonKey),
		registryCerts:       local(r.CertSecretRef, ""),
	}
	if hf := pc.Spec.HuggingFace; hf != nil {
		out.hubEndpoint = string(hf.Endpoint)
		out.hubCA = local(hf.CertSecretRef, artifact.KeyCA)
		if t := hf.TokenSecretRef; t != nil {
			out.hubToken = local(&t.LocalSecretReference, t.Key)
		}
	}
	if pc.Spec.Job != nil {
		out.job.JobConfig = *pc.Spec.Job
	}
	return out
}

// fromClusterProviderConfig returns what a ClusterProviderConfig says.
func fromClusterProviderConfig(pc *v1alpha1.ClusterProviderConfig) *providerConfig {
	anywhere := func(r *xpv2.SecretReference, key string) *secretKey {
		if r == nil {
			return nil
		}
		return &secretKey{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, key: key, copied: true}
	}
	r := pc.Spec.Registry
	out := &providerConfig{
		name:                pc.GetName(),
		version:             versionOf(pc),
		adopts:              pc.GetAnnotations()[artifact.AnnotationAdopt] == "true",
		cluster:             true,
		namespaceSelector:   pc.Spec.NamespaceSelector,
		repositoryPrefix:    r.RepositoryPrefix,
		host:                string(r.Host),
		plainHTTP:           r.PlainHTTP,
		registryCredentials: anywhere(r.Credentials.SecretRef, corev1.DockerConfigJsonKey),
		registryCerts:       anywhere(r.CertSecretRef, ""),
	}
	if hf := pc.Spec.HuggingFace; hf != nil {
		out.hubEndpoint = string(hf.Endpoint)
		out.hubCA = anywhere(hf.CertSecretRef, artifact.KeyCA)
		if t := hf.TokenSecretRef; t != nil {
			out.hubToken = anywhere(&t.SecretReference, t.Key)
		}
	}
	if pc.Spec.Policy != nil {
		out.tenants = pc.Spec.Policy.Tenants
	}
	if pc.Spec.Job != nil {
		out.job = *pc.Spec.Job
		out.kitImage, out.workerImage = pc.Spec.Job.KitImage, pc.Spec.Job.WorkerImage
	}
	return out
}

// forArtifact returns the config as far as it holds for the Artifact: what it
// says of its registry holds for no other, and what the Artifact names itself
// is not taken from here.
func (p *providerConfig) forArtifact(a *modelv1alpha1.Artifact) providerConfig {
	out := *p
	if host := p.hostFor(a); host != p.host {
		out.host, out.plainHTTP, out.registryCredentials, out.registryCerts = host, false, nil, nil
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.CredentialsSecretRef != nil {
		out.registryCredentials = nil
	}
	if ownHubToken(a) != nil {
		out.hubToken = nil
	}
	if artifact.OCISource(a) != nil {
		// Who reads from a registry asks no Hub.
		out.hubToken, out.hubCA = nil, nil
	}
	return out
}

// repositoryFor returns the repository of the Artifact.
func (p *providerConfig) repositoryFor(a *modelv1alpha1.Artifact) string {
	if OnlyObserves(a) {
		if ref, err := ExistingReference(a, p.host); err == nil {
			return ref.Repository
		}
	}
	return artifact.Repository(a)
}

// hostFor returns the registry of the Artifact: its own, else the config's.
func (p *providerConfig) hostFor(a *modelv1alpha1.Artifact) string {
	if OnlyObserves(a) {
		if ref, err := ExistingReference(a, p.host); err == nil {
			return ref.Registry
		}
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.Registry != "" {
		return string(t.Registry)
	}
	return p.host
}

// effective returns what the config adds to the Artifact's spec, but for
// Secrets, which addSecrets adds.
func (p *providerConfig) effective(a *modelv1alpha1.Artifact) modelv1alpha1.Effective {
	c := p.forArtifact(a)
	return modelv1alpha1.Effective{
		Registry:           c.host,
		PlainHTTP:          c.plainHTTP,
		HubEndpoint:        c.hubEndpoint,
		ServiceAccountName: c.job.ServiceAccountName,
		ImagePullSecrets:   c.job.ImagePullSecrets,
		Env:                c.job.Env,
		HostAliases:        c.job.HostAliases,
		Pipeline:           c.job.Pipeline,
		Storage:            c.job.Storage,
		Job:                &c.job.JobSettings,
	}
}

// versionOf a ProviderConfig's spec.
func versionOf(o client.Object) string {
	return string(o.GetUID()) + "/" + strconv.FormatInt(o.GetGeneration(), 10)
}

// ExistingReference returns what an Artifact looks at that is not to be made:
// what the annotation crossplane.io/external-name names, with a tag or a digest,
// else its target, in its own registry or in the ProviderConfig's.
func ExistingReference(a *modelv1alpha1.Artifact, host string) (registry.Reference, error) {
	name := meta.GetExternalName(a)
	ref, err := registry.ParseReference(name)
	if err == nil {
		return ref, nil
	}
	t := a.Spec.ForProvider.Target
	if t == nil && name == "" {
		return ref, outcome.Errorf(outcome.ConfigMissing, "No artifact is named: write the annotation crossplane.io/external-name, with registry/repository:tag or registry/repository@digest")
	}
	if t == nil {
		return ref, outcome.Errorf(outcome.Unsupported, "The annotation crossplane.io/external-name is %q, which names no artifact: write registry/repository:tag or registry/repository@digest", name)
	}
	if t.Registry != "" {
		host = string(t.Registry)
	}
	return registry.Reference{Registry: host, Repository: t.Repository, Tag: artifact.Tag(a)}, nil
}

// SecretsOf returns the Secrets that an object names, as namespace/name.
func SecretsOf(o client.Object) []string {
	var keys []*secretKey
	switch o := o.(type) {
	case *modelv1alpha1.Artifact:
		keys = ownSecrets(o)
	case *v1alpha1.ProviderConfig:
		keys = fromProviderConfig(o).secrets()
	case *v1alpha1.ClusterProviderConfig:
		keys = fromClusterProviderConfig(o).secrets()
	}
	var names []string
	for _, k := range keys {
		if k != nil {
			names = append(names, k.String())
		}
	}
	return names
}
