package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
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

const (
	// keyCA is the key of certificate authorities in a Secret, as
	// kubernetes.io/tls and cert-manager use it.
	keyCA = "ca.crt"

	// Keys in the Secret that an Artifact's runs get of a
	// ClusterProviderConfig. The registry's is corev1.DockerConfigJsonKey.
	copyRegistryCA = "registry-ca.crt"
	copyHubToken   = "hub-token"
	copyHubCA      = "hub-ca.crt"
)

// A secretKey names one key of a Secret in any namespace.
type secretKey struct {
	types.NamespacedName
	key string
}

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

	host                string
	plainHTTP           bool
	registryCredentials *secretKey
	registryCA          *secretKey

	hubEndpoint string
	hubToken    *secretKey
	hubCA       *secretKey

	job         v1alpha1.ClusterJobConfig
	kitImage    string
	workerImage string
}

// readConfig reads the ProviderConfig of either kind that the Artifact names.
func (c *connector) readConfig(ctx context.Context, a *modelv1alpha1.Artifact) (*providerConfig, error) {
	ref := a.GetProviderConfigReference()
	if ref == nil {
		return nil, errors.New("no ProviderConfig is named: write spec.providerConfigRef with kind and name")
	}
	switch ref.Kind {
	case v1alpha1.ProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ProviderConfig{}
		err := c.cached.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, pc)
		return fromProviderConfig(pc), describeMissing(err, ref)
	case v1alpha1.ClusterProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ClusterProviderConfig{}
		err := c.cached.Get(ctx, types.NamespacedName{Name: ref.Name}, pc)
		return fromClusterProviderConfig(pc), describeMissing(err, ref)
	}
	return nil, errors.Errorf("spec.providerConfigRef.kind is %q: write ProviderConfig or ClusterProviderConfig", ref.Kind)
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
		host:                string(r.Host),
		plainHTTP:           r.PlainHTTP,
		registryCredentials: local(r.Credentials.SecretRef, corev1.DockerConfigJsonKey),
		registryCA:          local(r.CertSecretRef, keyCA),
	}
	if hf := pc.Spec.HuggingFace; hf != nil {
		out.hubEndpoint = string(hf.Endpoint)
		out.hubCA = local(hf.CertSecretRef, keyCA)
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
		return &secretKey{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, key: key}
	}
	r := pc.Spec.Registry
	out := &providerConfig{
		name:                pc.GetName(),
		version:             versionOf(pc),
		cluster:             true,
		namespaceSelector:   pc.Spec.NamespaceSelector,
		repositoryPrefix:    r.RepositoryPrefix,
		host:                string(r.Host),
		plainHTTP:           r.PlainHTTP,
		registryCredentials: anywhere(r.Credentials.SecretRef, corev1.DockerConfigJsonKey),
		registryCA:          anywhere(r.CertSecretRef, keyCA),
	}
	if hf := pc.Spec.HuggingFace; hf != nil {
		out.hubEndpoint = string(hf.Endpoint)
		out.hubCA = anywhere(hf.CertSecretRef, keyCA)
		if t := hf.TokenSecretRef; t != nil {
			out.hubToken = anywhere(&t.SecretReference, t.Key)
		}
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
		out.host, out.plainHTTP, out.registryCredentials, out.registryCA = host, false, nil, nil
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.CredentialsSecretRef != nil {
		out.registryCredentials = nil
	}
	if s := a.Spec.ForProvider.Source; s != nil && s.HuggingFace != nil && s.HuggingFace.TokenSecretRef != nil {
		out.hubToken = nil
	}
	return out
}

// hostFor returns the registry of the Artifact: its own, else the config's.
func (p *providerConfig) hostFor(a *modelv1alpha1.Artifact) string {
	if observesOnly(a) {
		if ref, err := existingReference(a, p.host); err == nil {
			return ref.Registry
		}
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.Registry != "" {
		return string(t.Registry)
	}
	return p.host
}

// effective returns what the config adds to the Artifact's spec. Its Secrets
// are in the Artifact's namespace: a ClusterProviderConfig's are copied into
// one there.
func (p *providerConfig) effective(a *modelv1alpha1.Artifact) modelv1alpha1.Effective {
	c := p.forArtifact(a)
	local := func(k *secretKey, copied string) *corev1.SecretKeySelector {
		switch {
		case k == nil:
			return nil
		case c.cluster:
			return artifact.SecretKey(artifact.SecretName(a.GetName()), copied)
		}
		return artifact.SecretKey(k.Name, k.key)
	}
	return modelv1alpha1.Effective{
		Registry:            c.host,
		PlainHTTP:           c.plainHTTP,
		RegistryCredentials: local(c.registryCredentials, corev1.DockerConfigJsonKey),
		RegistryCA:          local(c.registryCA, copyRegistryCA),
		HubEndpoint:         c.hubEndpoint,
		HubToken:            local(c.hubToken, copyHubToken),
		HubCA:               local(c.hubCA, copyHubCA),
		ServiceAccountName:  c.job.ServiceAccountName,
		ImagePullSecrets:    c.job.ImagePullSecrets,
		Env:                 c.job.Env,
		HostAliases:         c.job.HostAliases,
		Storage:             c.job.Storage,
		Job:                 &c.job.JobSettings,
	}
}

// copies returns what the Artifact's own Secret holds of a
// ClusterProviderConfig's: the one registry's entry, the Hub's token and the
// certificate authorities. It is empty where the Artifact needs none.
func (p *providerConfig) copies(ctx context.Context, kube client.Client, a *modelv1alpha1.Artifact) (map[string][]byte, error) {
	c := p.forArtifact(a)
	out := map[string][]byte{}
	if !c.cluster {
		return out, nil
	}
	for name, k := range map[string]*secretKey{
		corev1.DockerConfigJsonKey: c.registryCredentials,
		copyRegistryCA:             c.registryCA,
		copyHubToken:               c.hubToken,
		copyHubCA:                  c.hubCA,
	} {
		value, err := readSecretKey(ctx, kube, k)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		if name == corev1.DockerConfigJsonKey {
			if value, err = registry.DockerConfigFor(value, c.host); err != nil {
				return nil, err
			}
		}
		out[name] = value
	}
	return out, nil
}

// registryOptions returns how the controller itself speaks to the Artifact's
// registry.
func (p *providerConfig) registryOptions(ctx context.Context, kube client.Client, a *modelv1alpha1.Artifact) (registry.Options, error) {
	c := p.forArtifact(a)
	credentials := c.registryCredentials
	if t := a.Spec.ForProvider.Target; t != nil && t.CredentialsSecretRef != nil {
		credentials = &secretKey{
			NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: t.CredentialsSecretRef.Name},
			key:            corev1.DockerConfigJsonKey,
		}
	}
	o := registry.Options{Host: c.host, PlainHTTP: c.plainHTTP}
	var err error
	if o.DockerConfig, err = readSecretKey(ctx, kube, credentials); err != nil {
		return registry.Options{}, err
	}
	o.CA, err = readSecretKey(ctx, kube, c.registryCA)
	return o, err
}

// versionOf a ProviderConfig's spec.
func versionOf(o client.Object) string {
	return string(o.GetUID()) + "/" + strconv.FormatInt(o.GetGeneration(), 10)
}

// hash identifies the state of the config and of all Secrets that a run of the
// Artifact uses, by their versions and not by what they hold.
func (p *providerConfig) hash(ctx context.Context, kube client.Client, a *modelv1alpha1.Artifact) (string, error) {
	c := p.forArtifact(a)
	versions := []string{c.version}
	for _, k := range append(c.secrets(), ownSecrets(a)...) {
		if k == nil {
			continue
		}
		s, err := readSecret(ctx, kube, k)
		if err != nil {
			return "", err
		}
		versions = append(versions, string(s.GetUID())+"/"+s.GetResourceVersion())
	}
	sum := sha256.Sum256([]byte(strings.Join(versions, ",")))
	return hex.EncodeToString(sum[:8]), nil
}

// secrets that the config names; nil for those that it does not.
func (p *providerConfig) secrets() []*secretKey {
	return []*secretKey{p.registryCredentials, p.registryCA, p.hubToken, p.hubCA}
}

// ownSecrets are those that the Artifact names itself, in its own namespace.
func ownSecrets(a *modelv1alpha1.Artifact) []*secretKey {
	var keys []*secretKey
	own := func(name, key string) {
		keys = append(keys, &secretKey{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: name}, key: key})
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.CredentialsSecretRef != nil {
		own(t.CredentialsSecretRef.Name, corev1.DockerConfigJsonKey)
	}
	if s := a.Spec.ForProvider.Source; s != nil && s.HuggingFace != nil && s.HuggingFace.TokenSecretRef != nil {
		own(s.HuggingFace.TokenSecretRef.Name, s.HuggingFace.TokenSecretRef.Key)
	}
	return keys
}

// readSecretKey returns the value of a key of a Secret, nil for no key.
func readSecretKey(ctx context.Context, kube client.Client, k *secretKey) ([]byte, error) {
	if k == nil {
		return nil, nil
	}
	s, err := readSecret(ctx, kube, k)
	if err != nil {
		return nil, err
	}
	return s.Data[k.key], nil
}

// readSecret returns the Secret that a key is in. The key has a value there.
func readSecret(ctx context.Context, kube client.Client, k *secretKey) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := kube.Get(ctx, k.NamespacedName, s)
	if kerrors.IsNotFound(err) {
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q does not exist: create it with the key %q", k.Name, k.Namespace, k.key)
	}
	if err != nil {
		return nil, errors.Wrapf(err, "cannot get Secret %q in namespace %q", k.Name, k.Namespace)
	}
	if len(s.Data[k.key]) == 0 {
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no value for the key %q: add it", k.Name, k.Namespace, k.key)
	}
	return s, nil
}
