package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	// keyCA is the key of certificate authorities in a Secret, as
	// kubernetes.io/tls and cert-manager use it; that of a certificate is
	// corev1.TLSCertKey, and that of its key corev1.TLSPrivateKeyKey.
	keyCA = "ca.crt"

	// Keys in the Secret that an Artifact's runs get of credentials that they
	// cannot be given as they are. The registry's is corev1.DockerConfigJsonKey.
	copyRegistryCA          = "registry-ca.crt"
	copyRegistryCertificate = "registry-tls.crt"
	copyRegistryKey         = "registry-tls.key"
	copyHubToken            = "hub-token"
	copyHubCA               = "hub-ca.crt"
)

// A secretKey names one key of a Secret in any namespace; without a key, the
// Secret.
type secretKey struct {
	types.NamespacedName
	key string
}

// A secretsReader reads each Secret once, so that all that is said of it is
// said of the same version.
type secretsReader struct {
	client.Reader

	seen map[types.NamespacedName]*corev1.Secret
}

// Get implements client.Reader.
func (r secretsReader) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	s, ok := o.(*corev1.Secret)
	if !ok {
		return r.Reader.Get(ctx, key, o, opts...)
	}
	if seen, ok := r.seen[key]; ok {
		seen.DeepCopyInto(s)
		return nil
	}
	if err := r.Reader.Get(ctx, key, s, opts...); err != nil {
		return err
	}
	r.seen[key] = s.DeepCopy()
	return nil
}

// reader returns one for as long as the config is used, which is one reconcile.
func (p *providerConfig) reader(kube client.Reader) client.Reader {
	if p.read == nil {
		p.read = map[types.NamespacedName]*corev1.Secret{}
	}
	return secretsReader{Reader: kube, seen: p.read}
}

// registryOptions returns how the controller itself speaks to the Artifact's
// registry.
func (p *providerConfig) registryOptions(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (registry.Options, error) {
	kube = p.reader(kube)
	c := p.forArtifact(a)
	credentials := c.registryCredentials
	if own := ownCredentials(a); own != nil {
		credentials = own
	}
	o := registry.Options{Host: c.host, PlainHTTP: c.plainHTTP, Repository: p.repositoryFor(a)}
	var err error
	if o.DockerConfig, err = readSecretKey(ctx, kube, credentials); err != nil {
		return registry.Options{}, err
	}
	if err := readCertificates(ctx, kube, c.registryCerts, &o); err != nil {
		return registry.Options{}, err
	}
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
	copied := func(key string) *corev1.SecretKeySelector {
		return artifact.SecretKey(artifact.SecretName(a.GetName()), key)
	}
	local := func(k *secretKey, key, copyKey string) *corev1.SecretKeySelector {
		switch {
		case k == nil:
			return nil
		case c.cluster:
			return copied(copyKey)
		}
		return artifact.SecretKey(k.Name, key)
	}
	if k := c.registryCredentials; k != nil {
		e.RegistryCredentials = local(k, k.key, corev1.DockerConfigJsonKey)
	}
	if k := c.hubToken; k != nil {
		e.HubToken = local(k, k.key, copyHubToken)
	}
	e.HubCA = local(c.hubCA, keyCA, copyHubCA)
	if p.options == nil {
		return
	}
	if len(p.options.CA) > 0 {
		e.RegistryCA = local(c.registryCerts, keyCA, copyRegistryCA)
	}
	if len(p.options.Certificate) > 0 {
		e.RegistryCertificate = local(c.registryCerts, corev1.TLSCertKey, copyRegistryCertificate)
		e.RegistryKey = local(c.registryCerts, corev1.TLSPrivateKeyKey, copyRegistryKey)
	}
	if c.copiesEntry() {
		e.CopiedCredentials = copied(corev1.DockerConfigJsonKey)
	}
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
	for key, value := range map[string][]byte{
		copyRegistryCA:          o.CA,
		copyRegistryCertificate: o.Certificate,
		copyRegistryKey:         o.Key,
		copyHubToken:            token,
		copyHubCA:               hubCA,
	} {
		if len(value) > 0 {
			out[key] = value
		}
	}
	return out, nil
}

// hash identifies the state of the config and of all Secrets that a run of the
// Artifact uses, by their versions and not by what they hold.
func (p *providerConfig) hash(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (string, error) {
	c := p.forArtifact(a)
	versions := []string{c.version}
	kube = p.reader(kube)
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
	return []*secretKey{p.registryCredentials, p.registryCerts, p.hubToken, p.hubCA}
}

// ownSecrets are those that the Artifact names itself, in its own namespace; nil
// for those that it does not.
func ownSecrets(a *modelv1alpha1.Artifact) []*secretKey {
	return []*secretKey{ownCredentials(a), ownHubToken(a)}
}

// ownHubToken is the Hub's that the Artifact names itself, if any.
func ownHubToken(a *modelv1alpha1.Artifact) *secretKey {
	s := a.Spec.ForProvider.Source
	if s == nil || s.HuggingFace == nil || s.HuggingFace.TokenSecretRef == nil {
		return nil
	}
	t := s.HuggingFace.TokenSecretRef
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: t.Name}, key: cmp.Or(t.Key, "token")}
}

// ownCredentials are the registry's that the Artifact names itself, if any.
func ownCredentials(a *modelv1alpha1.Artifact) *secretKey {
	t := a.Spec.ForProvider.Target
	if t == nil || t.CredentialsSecretRef == nil {
		return nil
	}
	return &secretKey{
		NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: t.CredentialsSecretRef.Name},
		key:            corev1.DockerConfigJsonKey,
	}
}

// readCertificates reads what a registry's certSecretRef names: certificate
// authorities, a client certificate with its key, or both.
func readCertificates(ctx context.Context, kube client.Reader, k *secretKey, o *registry.Options) error {
	if k == nil {
		return nil
	}
	s, err := readSecret(ctx, kube, k)
	if err != nil {
		return err
	}
	o.CA, o.Certificate, o.Key = s.Data[keyCA], s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	lacking := func(what string) error {
		return outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no value for the key %s", k.Name, k.Namespace, what)
	}
	switch {
	case len(o.Certificate) > 0 && len(o.Key) == 0:
		return lacking(`"tls.key" beside "tls.crt": add the certificate's key, or take "tls.crt" away`)
	case len(o.Key) > 0 && len(o.Certificate) == 0:
		return lacking(`"tls.crt" beside "tls.key": add the key's certificate, or take "tls.key" away`)
	case len(o.CA) == 0 && len(o.Certificate) == 0:
		return lacking(`"ca.crt", nor for "tls.crt" and "tls.key": add it, or both of these`)
	}
	return nil
}

// readSecretKey returns the value of a key of a Secret, nil for no key.
func readSecretKey(ctx context.Context, kube client.Reader, k *secretKey) ([]byte, error) {
	if k == nil {
		return nil, nil
	}
	s, err := readSecret(ctx, kube, k)
	if err != nil {
		return nil, err
	}
	return s.Data[k.key], nil
}

// readSecret returns the Secret that a key is in. The key, if one is named, has
// a value there.
func readSecret(ctx context.Context, kube client.Reader, k *secretKey) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := kube.Get(ctx, k.NamespacedName, s)
	switch {
	case kerrors.IsNotFound(err) && k.key == "":
		return nil, outcome.Errorf(outcome.ConfigMissing, `Secret %q in namespace %q does not exist: create it with the key "ca.crt", or with "tls.crt" and "tls.key"`, k.Name, k.Namespace)
	case kerrors.IsNotFound(err):
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q does not exist: create it with the key %q", k.Name, k.Namespace, k.key)
	case err != nil:
		return nil, errors.Wrapf(err, "cannot get Secret %q in namespace %q", k.Name, k.Namespace)
	case k.key != "" && len(s.Data[k.key]) == 0:
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no value for the key %q: add it", k.Name, k.Namespace, k.key)
	}
	return s, nil
}
