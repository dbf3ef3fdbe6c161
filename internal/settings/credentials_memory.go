package settings

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// maxRemembered bounds how many credentials are remembered.
	maxRemembered = 1024

	// maxRememberedBytes bounds one of them. Bundles of certificate authorities
	// may be larger, and are read each time.
	maxRememberedBytes = 16 << 10
)

// A CredentialMemory remembers how registries are reached: of the Secrets that
// say so, what is for the one registry, for as long as the watch of their
// metadata shows the version that was read. It is safe for concurrent use.
type CredentialMemory struct {
	// metadata reads the cache of Secrets' metadata.
	metadata client.Reader

	known *lru.Cache
}

// NewCredentialMemory returns a memory that knows nothing yet.
func NewCredentialMemory(metadata client.Reader) *CredentialMemory {
	return &CredentialMemory{metadata: metadata, known: lru.New(maxRemembered)}
}

// credentialKey is what credentials are remembered by: the registry, and where
// they are.
type credentialKey struct {
	host               string
	plainHTTP, unnamed bool
	credentials, certs secretKey
}

// credentialKeyOf returns what an endpoint's credentials are remembered by.
func credentialKeyOf(e endpoint) credentialKey {
	key := credentialKey{host: e.host, plainHTTP: e.plainHTTP, unnamed: e.unnamed}
	if e.credentials != nil {
		key.credentials = *e.credentials
	}
	if e.certs != nil {
		key.certs = *e.certs
	}
	return key
}

// A credential is how a registry is reached, as Secrets of this version say.
type credential struct {
	version string
	options registry.Options
}

// options of a client for an endpoint, remembered or read. A nil memory reads.
func (m *CredentialMemory) options(ctx context.Context, e endpoint, kube client.Reader) (registry.Options, error) {
	if m == nil || (e.credentials == nil && e.certs == nil) {
		return e.options(ctx, kube)
	}
	key := credentialKeyOf(e)
	version, ok := m.version(ctx, e.credentials, e.certs)
	if !ok {
		m.known.Remove(key)
		return e.options(ctx, kube)
	}
	if c, ok := m.known.Get(key); ok && c.(credential).version == version { //nolint:forcetypeassert // There is nothing else in it.
		o := c.(credential).options //nolint:forcetypeassert // See above.
		o.Repository = e.repository
		return o, nil
	}
	o, err := e.options(ctx, kube)
	if err != nil {
		m.known.Remove(key)
		return o, err
	}
	m.remember(key, version, o)
	return o, nil
}

// remember what was read. The watch may be behind what was read: then it shows
// another version soon, and it is read again.
func (m *CredentialMemory) remember(key credentialKey, version string, o registry.Options) {
	o.DockerConfig = registry.EntriesForHost(o.DockerConfig, o.Host)
	if len(o.DockerConfig)+len(o.CA)+len(o.Certificate)+len(o.Key) > maxRememberedBytes {
		m.known.Remove(key)
		return
	}
	m.known.Add(key, credential{version: version, options: o})
}

// version of Secrets as their metadata shows it, and whether it does of all.
func (m *CredentialMemory) version(ctx context.Context, keys ...*secretKey) (string, bool) {
	out := ""
	for _, k := range keys {
		if k == nil {
			continue
		}
		s := &metav1.PartialObjectMetadata{}
		s.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		if err := m.metadata.Get(ctx, k.NamespacedName, s); err != nil {
			return "", false
		}
		out += string(s.GetUID()) + "/" + s.GetResourceVersion() + ","
	}
	return out, true
}
