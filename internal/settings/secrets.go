package settings

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A secretKey references one key of a Secret in any namespace; without a key, the
// Secret as a whole.
type secretKey struct {
	types.NamespacedName
	key string

	// needs says what a Secret as a whole must have.
	needs string

	// copied reports whether a run gets a copy, since the Secret is a
	// ClusterProviderConfig's, or the run executes in another namespace.
	copied bool
}

// ownSecret returns the reference to a key of a Secret in the Artifact's
// namespace; nil for no Secret.
func ownSecret(a *modelv1alpha1.Artifact, r *xpv2.LocalSecretReference, key string) *secretKey {
	if r == nil {
		return nil
	}
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: r.Name}, key: key}
}

// ownCredentials returns the reference to the credentials for the target's
// registry that the Artifact itself names, if any.
func ownCredentials(a *modelv1alpha1.Artifact) *secretKey {
	if t := a.Spec.ForProvider.Target; t != nil {
		return ownSecret(a, t.CredentialsSecretRef, corev1.DockerConfigJsonKey)
	}
	return nil
}

// ownHubToken returns the reference to the token for the Hub that the Artifact
// itself names, if any.
func ownHubToken(a *modelv1alpha1.Artifact) *secretKey {
	s := a.Spec.ForProvider.Source
	if s == nil || s.HuggingFace == nil || s.HuggingFace.TokenSecretRef == nil {
		return nil
	}
	t := s.HuggingFace.TokenSecretRef
	return ownSecret(a, &xpv2.LocalSecretReference{Name: t.Name}, cmp.Or(t.Key, artifact.DefaultTokenKey))
}

// ownSourceSecrets returns the references to the credentials and the certificate
// authorities for the registry of source.oci that the Artifact itself names, if
// any.
func ownSourceSecrets(a *modelv1alpha1.Artifact) (credentials, ca *secretKey) {
	if s := artifact.OCISource(a); s != nil {
		return ownSecret(a, s.CredentialsSecretRef, corev1.DockerConfigJsonKey), ownSecret(a, s.CertSecretRef, artifact.KeyCA)
	}
	return nil, nil
}

// ownVerifyFile returns the reference to the file in a Secret, if any, by which the
// Artifact's source is verified: public keys or a trusted root.
func ownVerifyFile(a *modelv1alpha1.Artifact) *secretKey {
	s := artifact.OCISource(a)
	if s == nil || s.Verify == nil {
		return nil
	}
	if r := s.Verify.SecretRef; r != nil {
		return ownSecret(a, &xpv2.LocalSecretReference{Name: r.Name}, cmp.Or(r.Key, artifact.DefaultPublicKey))
	}
	if r := s.Verify.TrustedRootSecretRef; r != nil {
		return ownSecret(a, &xpv2.LocalSecretReference{Name: r.Name}, cmp.Or(r.Key, artifact.DefaultTrustedRoot))
	}
	return nil
}

// ownVerifyConfigMap is the same of a file in a ConfigMap.
func ownVerifyConfigMap(a *modelv1alpha1.Artifact) *secretKey {
	s := artifact.OCISource(a)
	if s == nil || s.Verify == nil {
		return nil
	}
	if r := s.Verify.ConfigMapRef; r != nil {
		return ownSecret(a, &xpv2.LocalSecretReference{Name: r.Name}, cmp.Or(r.Key, artifact.DefaultPublicKey))
	}
	if r := s.Verify.TrustedRootConfigMapRef; r != nil {
		return ownSecret(a, &xpv2.LocalSecretReference{Name: r.Name}, cmp.Or(r.Key, artifact.DefaultTrustedRoot))
	}
	return nil
}

// SecretsOf returns the Secrets that an Artifact or a ProviderConfig of either
// kind names, as namespace/name.
func SecretsOf(o client.Object) []string {
	var keys []*secretKey
	switch o := o.(type) {
	case *modelv1alpha1.Artifact:
		credentials, ca := ownSourceSecrets(o)
		folder := folderSecretsOf(o)
		keys = []*secretKey{ownCredentials(o), ownHubToken(o), credentials, ca, ownVerifyFile(o), folder.credentials, folder.ca}
	case *v1alpha1.ProviderConfig:
		keys = secretsOf(fromProviderConfig(o))
	case *v1alpha1.ClusterProviderConfig:
		keys = secretsOf(fromClusterProviderConfig(o))
	}
	var names []string
	for _, k := range keys {
		if k != nil {
			names = append(names, k.String())
		}
	}
	return names
}

// secretsOf returns the references to all Secrets that a config names; nil for
// those that it does not.
func secretsOf(p *providerConfig) []*secretKey {
	return []*secretKey{
		p.secret(p.Registry.Credentials.SecretRef, corev1.DockerConfigJsonKey), p.secret(p.Registry.CertSecretRef, ""),
		p.hubToken(), p.secret(p.HuggingFace.CertSecretRef, artifact.KeyCA), p.signingKey(),
	}
}

// A secretReader reads the Secrets of one Artifact for one reconcile. It reads each
// once, so that all that follows from a Secret follows from the same version.
type secretReader struct {
	kube client.Reader

	// memory has credentials of registries; nil to read them.
	memory *CredentialMemory

	// identities of the provider at registries of clouds.
	identities *identity.Sources

	seen map[types.NamespacedName]*corev1.Secret
}

// refresh drops what was read or remembered: from here on Secrets are those of the
// API server.
func (r *secretReader) refresh() { r.memory, r.seen = nil, nil }

// get returns the Secret that a key is in. It returns an error with reason
// ConfigMissing if the key has no value there, and with reason NotAllowed if the
// provider created the Secret for a run.
func (r *secretReader) get(ctx context.Context, k *secretKey) (*corev1.Secret, error) {
	s, ok := r.seen[k.NamespacedName]
	if !ok {
		s = &corev1.Secret{}
		err := r.kube.Get(ctx, k.NamespacedName, s)
		switch {
		case kerrors.IsNotFound(err) && k.key == "":
			return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q does not exist: create it with %s", k.Name, k.Namespace,
				cmp.Or(k.needs, `the key "ca.crt", or with "tls.crt" and "tls.key"`))
		case kerrors.IsNotFound(err):
			return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q does not exist: create it with the key %q", k.Name, k.Namespace, k.key)
		case err != nil:
			return nil, errors.Wrapf(err, "cannot get Secret %q in namespace %q", k.Name, k.Namespace)
		}
		if r.seen == nil {
			r.seen = map[types.NamespacedName]*corev1.Secret{}
		}
		r.seen[k.NamespacedName] = s
	}
	switch {
	case artifact.IsCredentials(s):
		// A tenant who names it would use the credentials of another.
		return nil, outcome.Errorf(outcome.NotAllowed, "Secret %q in namespace %q is the provider's copy of credentials for a run: name a Secret that you created", k.Name, k.Namespace)
	case k.key != "" && valueOf(s, k.key) == nil:
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no value for the key %q: add it", k.Name, k.Namespace, k.key)
	}
	return s, nil
}

// sendable returns the Secret that a key is in, for what is sent to a server as it is. It
// returns an error with reason NotAllowed for one of Kubernetes' own types, as that with the
// token of a service account: their values are for other servers. Those with a user and a
// password are for any.
func (r *secretReader) sendable(ctx context.Context, k *secretKey) (*corev1.Secret, error) {
	s, err := r.get(ctx, k)
	if err != nil {
		return nil, err
	}
	if domain, _, _ := strings.Cut(string(s.Type), "/"); (domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")) && s.Type != corev1.SecretTypeBasicAuth {
		return nil, outcome.Errorf(outcome.NotAllowed, "Secret %q in namespace %q is of type %s, whose values are not sent to a source: copy what is for the source into one of type %s",
			k.Name, k.Namespace, s.Type, corev1.SecretTypeOpaque)
	}
	return s, nil
}

// checkHost returns an error with reason NotAllowed unless a Secret lists a host that it may
// be sent to.
func checkHost(s *corev1.Secret, host string) error {
	return identity.CheckHost(fmt.Sprintf("Secret %q in namespace %q", s.Name, s.Namespace), string(s.Data[identity.KeyHost]), host)
}

// value returns the value of a key of a Secret, nil for no key.
func (r *secretReader) value(ctx context.Context, k *secretKey) ([]byte, error) {
	if k == nil {
		return nil, nil
	}
	s, err := r.get(ctx, k)
	if err != nil {
		return nil, err
	}
	return valueOf(s, k.key), nil
}

// configMapValue returns the value of a key of a ConfigMap, nil for no key. It returns an
// error with reason ConfigMissing if there is none.
func (r *secretReader) configMapValue(ctx context.Context, k *secretKey) ([]byte, error) {
	if k == nil {
		return nil, nil
	}
	m := &corev1.ConfigMap{}
	if err := r.kube.Get(ctx, k.NamespacedName, m); client.IgnoreNotFound(err) != nil {
		return nil, errors.Wrapf(err, "cannot get ConfigMap %q in namespace %q", k.Name, k.Namespace)
	}
	if value := m.Data[k.key]; value != "" {
		return []byte(value), nil
	}
	return nil, outcome.Errorf(outcome.ConfigMissing, "ConfigMap %q in namespace %q has no value for the key %q: create it with one", k.Name, k.Namespace, k.key)
}

// valueOf returns the value of a Secret's key; nil for white space alone, which is
// no value.
func valueOf(s *corev1.Secret, key string) []byte {
	if b := s.Data[key]; len(bytes.TrimSpace(b)) > 0 {
		return b
	}
	return nil
}
