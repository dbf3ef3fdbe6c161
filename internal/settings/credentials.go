package settings

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	// Keys in the Secret that an Artifact's runs get of credentials that they
	// cannot be given as they are. The registry's is corev1.DockerConfigJsonKey.
	copyRegistryCA          = "registry-ca.crt"
	copyRegistryCertificate = "registry-tls.crt"
	copyRegistryKey         = "registry-tls.key"
	copyHubToken            = "hub-token"
	copyHubCA               = "hub-ca.crt"

	// Keys of what the registry of source.oci asks for.
	copySourceCredentials = "source-config.json" //nolint:gosec // A name.
	copySourceCA          = "source-ca.crt"
	copySourceCertificate = "source-tls.crt"
	copySourceKey         = "source-tls.key"
)

// reader returns one for as long as the config is used, which is one reconcile.
func (p *providerConfig) reader(kube client.Reader) client.Reader {
	if p.read == nil {
		p.read = map[types.NamespacedName]*corev1.Secret{}
	}
	return secretsReader{Reader: kube, seen: p.read}
}

// An endpoint is a repository of a registry, and the Secrets by which it is
// reached; nil for those that it needs none of.
type endpoint struct {
	host, repository string
	plainHTTP        bool
	credentials      *secretKey
	certs            *secretKey // All that is in the Secret, or its key.

	// unnamed says that no certificate is to tell who asks.
	unnamed bool
}

// options of a client for an endpoint.
func (e endpoint) options(ctx context.Context, kube client.Reader) (registry.Options, error) {
	o := registry.Options{Host: e.host, PlainHTTP: e.plainHTTP, Repository: e.repository}
	var err error
	if o.DockerConfig, err = readSecretKey(ctx, kube, e.credentials); err != nil {
		return registry.Options{}, err
	}
	if err := readCertificates(ctx, kube, e.certs, &o); err != nil {
		return registry.Options{}, err
	}
	if e.unnamed {
		o.Certificate, o.Key = nil, nil
	}
	return o, nil
}

// registryOptions returns how the controller itself speaks to the Artifact's
// registry.
func (p *providerConfig) registryOptions(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (registry.Options, error) {
	c := p.forArtifact(a)
	e := endpoint{host: c.host, repository: p.repositoryFor(a), plainHTTP: c.plainHTTP, credentials: c.registryCredentials, certs: c.registryCerts}
	if own := ownCredentials(a); own != nil {
		e.credentials = own
	}
	o, err := p.memory.options(ctx, e, p.reader(kube))
	if err != nil {
		return registry.Options{}, err
	}
	o.Pushes = !OnlyObserves(a) && !meta.WasDeleted(a)
	p.options = &o
	return o, nil
}

// hubOptions returns how the controller itself speaks to the Artifact's Hub.
func (p *providerConfig) hubOptions(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (hub.Options, error) {
	kube = p.reader(kube)
	c := p.forArtifact(a)
	token := c.hubToken
	if own := ownHubToken(a); own != nil {
		token = own
	}
	o := hub.Options{Endpoint: c.hubEndpoint, UserAgent: version.UserAgent()}
	value, err := readSecretKey(ctx, kube, token)
	if err != nil {
		return o, err
	}
	o.Token = string(value)
	o.CA, err = readSecretKey(ctx, kube, c.hubCA)
	return o, err
}

// addSecrets adds the Secrets of the Artifact's runs to what the config adds to
// its spec. They are in the Artifact's namespace: what a run cannot be given as
// it is, it gets by a copy there, as copies returns it. The registry's options
// were read before.
func (p *providerConfig) addSecrets(e *modelv1alpha1.Effective, a *modelv1alpha1.Artifact) {
	c := p.forArtifact(a)
	if k := c.registryCredentials; k != nil {
		e.RegistryCredentials = mounted(k, k.key, corev1.DockerConfigJsonKey)
	}
	if k := c.hubToken; k != nil {
		e.HubToken = mounted(k, k.key, copyHubToken)
	}
	e.HubCA = mounted(c.hubCA, artifact.KeyCA, copyHubCA)
	if p.options == nil {
		return
	}
	if len(p.options.CA) > 0 {
		e.RegistryCA = mounted(c.registryCerts, artifact.KeyCA, copyRegistryCA)
	}
	if len(p.options.Certificate) > 0 {
		e.RegistryCertificate = mounted(c.registryCerts, corev1.TLSCertKey, copyRegistryCertificate)
		e.RegistryKey = mounted(c.registryCerts, corev1.TLSPrivateKeyKey, copyRegistryKey)
	}
	if c.copiesEntry() {
		e.CopiedCredentials = artifact.SecretKey(artifact.CopiedSecret, corev1.DockerConfigJsonKey)
	}
}

// mounted returns where a run finds the key of a Secret, or its copy; nil for no
// Secret.
func mounted(k *secretKey, key, copyKey string) *corev1.SecretKeySelector {
	switch {
	case k == nil:
		return nil
	case k.copied:
		return artifact.SecretKey(artifact.CopiedSecret, copyKey)
	}
	return artifact.SecretKey(k.Name, key)
}

// copiesEntry says whether the entry for the Artifact's registry is copied,
// although its Secret is in the Artifact's namespace: where it has another name
// than the registry's host, kit does not find it.
func (p *providerConfig) copiesEntry() bool {
	o := p.options
	mounted := !p.cluster || p.registryCredentials == nil
	return o != nil && mounted && !registry.IsPlain(o.DockerConfig, o.Host, o.Repository)
}

// copies returns what the Artifact's own Secret is to hold: of a
// ClusterProviderConfig's the one registry's entry, the Hub's token and the
// certificates; of other Secrets what a run cannot use where it is. It is empty
// where the Artifact needs none.
func (p *providerConfig) copies(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (map[string][]byte, error) {
	o, err := p.registryOptions(ctx, kube, a)
	if err != nil {
		return nil, err
	}
	c := p.forArtifact(a)
	out := map[string][]byte{}
	if c.copiesEntry() || (c.cluster && c.registryCredentials != nil) {
		if out[corev1.DockerConfigJsonKey], err = registry.DockerConfigFor(o.DockerConfig, o.Host, o.Repository); err != nil {
			return nil, err
		}
	}
	if !c.cluster {
		return out, nil
	}
	kube = p.reader(kube)
	token, err := readSecretKey(ctx, kube, c.hubToken)
	if err != nil {
		return nil, err
	}
	hubCA, err := readSecretKey(ctx, kube, c.hubCA)
	if err != nil {
		return nil, err
	}
	source, err := p.sourceCopies(ctx, kube, a)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, source)
	maps.Copy(out, map[string][]byte{
		copyRegistryCA:          o.CA,
		copyRegistryCertificate: o.Certificate,
		copyRegistryKey:         o.Key,
		copyHubToken:            token,
		copyHubCA:               hubCA,
	})
	maps.DeleteFunc(out, func(_ string, value []byte) bool { return len(value) == 0 })
	return out, nil
}

// hash identifies the state of the config and of all Secrets that a run of the
// Artifact uses, by their versions and not by what they hold.
func (p *providerConfig) hash(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (string, error) {
	c := p.forArtifact(a)
	versions := []string{c.version}
	kube = p.reader(kube)
	source, err := p.sourceSecrets(a)
	if err != nil {
		return "", err
	}
	for _, k := range slices.Concat(c.secrets(), ownSecrets(a), source) {
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
	return []*secretKey{p.registryCredentials, p.registryCerts, p.hubToken, p.hubCA}
}

// ownSecrets are those that the Artifact names itself, in its own namespace; nil
// for those that it does not.
func ownSecrets(a *modelv1alpha1.Artifact) []*secretKey {
	return []*secretKey{ownCredentials(a), ownHubToken(a), ownSourceCredentials(a), ownSourceCA(a)}
}

// ownHubToken is the Hub's that the Artifact names itself, if any.
func ownHubToken(a *modelv1alpha1.Artifact) *secretKey {
	s := a.Spec.ForProvider.Source
	if s == nil || s.HuggingFace == nil || s.HuggingFace.TokenSecretRef == nil {
		return nil
	}
	t := s.HuggingFace.TokenSecretRef
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: t.Name}, key: cmp.Or(t.Key, artifact.DefaultTokenKey)}
}

// ownCredentials are the registry's that the Artifact names itself, if any.
func ownCredentials(a *modelv1alpha1.Artifact) *secretKey {
	if t := a.Spec.ForProvider.Target; t != nil {
		return ownKey(a, t.CredentialsSecretRef, corev1.DockerConfigJsonKey)
	}
	return nil
}

// ownKey is a key of a Secret in the Artifact's namespace; nil for no Secret.
func ownKey(a *modelv1alpha1.Artifact, r *xpv2.LocalSecretReference, key string) *secretKey {
	if r == nil {
		return nil
	}
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: r.Name}, key: key}
}
