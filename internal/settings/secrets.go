package settings

import (
	"bytes"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A secretKey names one key of a Secret in any namespace; without a key, the
// Secret.
type secretKey struct {
	types.NamespacedName
	key string

	// copied says that a run gets a copy: the Secret is a
	// ClusterProviderConfig's.
	copied bool
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

// readCertificates reads what a registry's certSecretRef names: certificate
// authorities, a client certificate with its key, or both; or the authorities
// alone that are under the one key that is named.
func readCertificates(ctx context.Context, kube client.Reader, k *secretKey, o *registry.Options) error {
	if k == nil {
		return nil
	}
	s, err := readSecret(ctx, kube, k)
	if err != nil {
		return err
	}
	if k.key != "" {
		o.CA = valueOf(s, k.key)
		return nil
	}
	o.CA, o.Certificate, o.Key = valueOf(s, artifact.KeyCA), valueOf(s, corev1.TLSCertKey), valueOf(s, corev1.TLSPrivateKeyKey)
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
	return valueOf(s, k.key), nil
}

// valueOf returns the value of a Secret's key as it stands there; nil for white
// space alone, which is no value.
func valueOf(s *corev1.Secret, key string) []byte {
	if b := s.Data[key]; len(bytes.TrimSpace(b)) > 0 {
		return b
	}
	return nil
}

// readSecret returns the Secret that a key is in. The key, if one is named, has
// a value there. A Secret that the provider made for a run is refused, whoever
// names it.
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
	case artifact.IsCredentials(s):
		// Whoever may name it would use credentials that are not theirs.
		return nil, outcome.Errorf(outcome.NotAllowed, "Secret %q in namespace %q is the provider's own copy of credentials, for one run: name a Secret that you made", k.Name, k.Namespace)
	case k.key != "" && valueOf(s, k.key) == nil:
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no value for the key %q: add it", k.Name, k.Namespace, k.key)
	}
	return s, nil
}
