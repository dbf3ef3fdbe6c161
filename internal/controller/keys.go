package controller

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

const (
	// SigningKeyName names the Secret with the provider's private key, and the
	// ConfigMap with its public one, in the provider's own namespace.
	SigningKeyName = access.SigningKeyName

	// Keys of that Secret, as `cosign generate-key-pair k8s://` names them. The public
	// keys of the Secret are all trusted, one after the other; the private one signs.
	privateKeyFile = "cosign.key"
	publicKeyFile  = "cosign.pub"
	passwordFile   = "cosign.password"

	// publishedKeyFile is the key of the ConfigMap. Flux reads public keys from names
	// that end with .pub.
	publishedKeyFile = "provider-kitops.pub"

	// clusterNamespace is the namespace whose UID identifies a cluster, since it lives
	// as long as the cluster.
	clusterNamespace = "kube-system"
)

// Keys returns what the provider signs and verifies ownership with: the key in its own
// namespace, which it makes if there is none, and the ID of its cluster, if clusterID
// does not set another. It publishes the public key in a ConfigMap, and logs its ID. It
// retries transient errors for a while. Outside of a cluster, where namespace is empty,
// there are no keys, and only the ID of the cluster, for configs that name one.
func Keys(ctx context.Context, kube client.Client, namespace, clusterID string, log logging.Logger) (provenance.Keys, error) {
	if namespace == "" {
		log.Info("The provider does not run in a Pod and has no key: unless a ClusterProviderConfig names one, who pushed an artifact is known by its status only")
		id, err := clusterOf(ctx, kube, clusterID)
		return provenance.Keys{Cluster: id}, err
	}
	var (
		keys provenance.Keys
		last error
	)
	err := wait.PollUntilContextTimeout(ctx, grantInterval, grantTimeout, true, func(ctx context.Context) (bool, error) {
		keys, last = readKeys(ctx, kube, namespace, clusterID)
		return last == nil || !isTransient(last), nil
	})
	if last == nil {
		last = err
	}
	if last != nil {
		return provenance.Keys{}, errors.Wrapf(last, "cannot use the signing key in Secret %s/%s: the provider must be allowed to get, create and update that Secret and the ConfigMap of its name: Crossplane grants that to providers, and examples/install/without-crossplane.yaml does without it", namespace, SigningKeyName)
	}
	log.Info("Artifacts are signed", "keyID", keys.Signer.KeyID(), "publicKey", "ConfigMap "+namespace+"/"+SigningKeyName, "cluster", keys.Cluster)
	return keys, nil
}

// isTransient reports whether a request to the API server may succeed later.
func isTransient(err error) bool {
	return kerrors.IsServerTimeout(err) || kerrors.IsTimeout(err) || kerrors.IsTooManyRequests(err) || kerrors.IsInternalError(err) || kerrors.IsConflict(err)
}

// readKeys reads the provider's key, which it makes if there is none.
func readKeys(ctx context.Context, kube client.Client, namespace, clusterID string) (provenance.Keys, error) {
	name := types.NamespacedName{Namespace: namespace, Name: SigningKeyName}
	secret, err := keySecret(ctx, kube, name)
	if err != nil {
		return provenance.Keys{}, err
	}
	key, err := attest.ParsePrivateKey(secret.Data[privateKeyFile], secret.Data[passwordFile])
	if err != nil {
		return provenance.Keys{}, err
	}
	public := key.PublicPEM()
	verifier, err := attest.NewVerifier(public)
	if earlier := secret.Data[publicKeyFile]; err == nil && len(earlier) > 0 {
		verifier, err = attest.NewVerifier(public, earlier)
	}
	if err != nil {
		return provenance.Keys{}, errors.Wrapf(err, "%s of the Secret", publicKeyFile)
	}
	if clusterID, err = clusterOf(ctx, kube, clusterID); err != nil {
		return provenance.Keys{}, err
	}
	return provenance.Keys{Cluster: clusterID, Signer: key, Verifier: verifier}, publish(ctx, kube, name, public)
}

// clusterOf returns the ID of the cluster, unless set is another.
func clusterOf(ctx context.Context, kube client.Client, set string) (string, error) {
	if set != "" {
		return set, nil
	}
	ns := &corev1.Namespace{}
	err := kube.Get(ctx, types.NamespacedName{Name: clusterNamespace}, ns)
	return string(ns.GetUID()), errors.Wrapf(err, "cannot get namespace %s, whose UID identifies the cluster", clusterNamespace)
}

// keySecret returns the Secret with the private key, which it makes if there is none. Of
// several replicas that make it at the same time the first one wins.
func keySecret(ctx context.Context, kube client.Client, name types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := kube.Get(ctx, name, secret)
	if !kerrors.IsNotFound(err) {
		return secret, errors.Wrap(err, "cannot get the Secret")
	}
	private, err := attest.GenerateKey()
	if err != nil {
		return nil, err
	}
	key, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		return nil, err
	}
	secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Data:       map[string][]byte{privateKeyFile: private, publicKeyFile: key.PublicPEM()},
	}
	if err = kube.Create(ctx, secret); kerrors.IsAlreadyExists(err) {
		secret = &corev1.Secret{}
		err = kube.Get(ctx, name, secret)
	}
	return secret, errors.Wrap(err, "cannot create the Secret")
}

// publish writes the public key into the ConfigMap, if it is not there.
func publish(ctx context.Context, kube client.Client, name types.NamespacedName, public []byte) error {
	published := &corev1.ConfigMap{}
	err := kube.Get(ctx, name, published)
	switch {
	case kerrors.IsNotFound(err):
		published = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
			Data:       map[string]string{publishedKeyFile: string(public)},
		}
		err = kube.Create(ctx, published)
		if kerrors.IsAlreadyExists(err) {
			return nil
		}
		return errors.Wrap(err, "cannot create the ConfigMap with the public key")
	case err != nil:
		return errors.Wrap(err, "cannot get the ConfigMap with the public key")
	case published.Data[publishedKeyFile] == string(public):
		return nil
	}
	if published.Data == nil {
		published.Data = map[string]string{}
	}
	published.Data[publishedKeyFile] = string(public)
	return errors.Wrap(kube.Update(ctx, published), "cannot update the ConfigMap with the public key")
}
