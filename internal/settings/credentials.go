package settings

import (
	"cmp"
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// An endpoint is a repository of a registry, and references to the Secrets that
// connect to it; nil for those that it does not need.
type endpoint struct {
	host, repository string
	plainHTTP        bool
	credentials      *secretKey
	certs            *secretKey // The Secret, or its key with authorities.
	verify           *secretKey // What a source is verified by, in a Secret.
	verifyConfigMap  *secretKey // The same in a ConfigMap.
	verifiesByRoot   bool       // It is a trusted root and no key.

	// identity reports whether the account is that which the registry's cloud gives to
	// the identity of the provider, and of a run.
	identity bool

	// anonymous leaves out the client certificate of certs.
	anonymous bool
}

// registryFor returns the endpoint of the Artifact's registry. The config's settings
// apply to the config's registry only, and the Artifact's own credentials replace
// the config's.
func (p *providerConfig) registryFor(a *modelv1alpha1.Artifact) endpoint {
	e := endpoint{}
	host, repository := p.locationOf(a)
	if host == p.host() {
		e = p.registryEndpoint()
	}
	e.host, e.repository = host, repository
	if own := ownCredentials(a); own != nil {
		e.credentials, e.identity = own, false
	}
	return e
}

// registryEndpoint returns the endpoint of the config's own registry, without a
// repository.
func (p *providerConfig) registryEndpoint() endpoint {
	return endpoint{
		host:        p.host(),
		plainHTTP:   p.Registry.PlainHTTP,
		credentials: p.secret(p.Registry.Credentials.SecretRef, corev1.DockerConfigJsonKey),
		certs:       p.secret(p.Registry.CertSecretRef, ""),
		identity:    p.usesIdentity(),
	}
}

// sourceFor returns the endpoint of the Artifact's source.oci; nil for another
// source. It returns an error with reason Unsupported if the source names no
// artifact. The config's settings apply to the config's registry only, and the
// Artifact's own Secrets replace the config's.
func (p *providerConfig) sourceFor(a *modelv1alpha1.Artifact) (*endpoint, error) {
	s := artifact.OCISource(a)
	if s == nil {
		return nil, nil //nolint:nilnil // There is none.
	}
	e := &endpoint{plainHTTP: s.PlainHTTP, verify: ownVerifyFile(a), verifyConfigMap: ownVerifyConfigMap(a)}
	e.verifiesByRoot = s.Verify != nil && len(s.Verify.MatchOIDCIdentity) > 0
	ref, err := registry.ParseReference(s.Reference)
	if err != nil {
		err = outcome.Errorf(outcome.Unsupported, "spec.forProvider.source.oci.reference: %s", err).Because(err)
	}
	e.host, e.repository = ref.Registry, ref.Repository
	if err == nil && e.host == p.host() {
		// With the Artifact's plainHTTP, a tenant could have the config's
		// credentials sent without TLS.
		e.plainHTTP = p.Registry.PlainHTTP
		if s.PlainHTTP && !e.plainHTTP {
			err = outcome.Errorf(outcome.Unsupported, "spec.forProvider.source.oci.plainHTTP: %s is the registry of %s, which connects to it with TLS: remove plainHTTP", e.host, p)
		}
		e.certs = p.secret(p.Registry.CertSecretRef, "")
		// The config's credentials and client certificate must not read the
		// repositories of another tenant.
		if e.anonymous = !strings.HasPrefix(e.repository, p.prefixFor(a)); !e.anonymous {
			e.credentials = p.secret(p.Registry.Credentials.SecretRef, corev1.DockerConfigJsonKey)
			e.identity = p.usesIdentity()
		}
	}
	credentials, ca := ownSourceSecrets(a)
	if credentials != nil {
		e.credentials, e.identity = credentials, false
	}
	if ca != nil {
		e.certs = ca
	}
	return e, err
}

// A hubEndpoint is a Hugging Face Hub, and references to the Secrets that connect
// to it.
type hubEndpoint struct {
	url       string
	token, ca *secretKey

	// bound reports whether the Secret of the token must list the Hub's host: a tenant
	// chose the Hub, who may not be able to read the Secret.
	bound bool
}

// hubFor returns the endpoint of the Artifact's Hub. The Artifact's own token
// replaces the config's, and an Artifact that is read from elsewhere needs neither
// token nor authorities.
func (p *providerConfig) hubFor(a *modelv1alpha1.Artifact) hubEndpoint {
	e := p.hubEndpoint()
	if artifact.OCISource(a) != nil || artifact.FolderOf(a) != nil {
		return hubEndpoint{url: e.url}
	}
	if own := ownHubToken(a); own != nil {
		e.token = own
	}
	return e
}

// hubEndpoint returns the endpoint of the config's Hub.
func (p *providerConfig) hubEndpoint() hubEndpoint {
	url := string(p.HuggingFace.Endpoint)
	return hubEndpoint{
		url: url, token: p.hubToken(), ca: p.secret(p.HuggingFace.CertSecretRef, artifact.KeyCA),
		bound: !p.cluster && strings.TrimRight(cmp.Or(url, v1alpha1.DefaultHubEndpoint), "/") != v1alpha1.DefaultHubEndpoint,
	}
}

// hubToken returns the token for a Hub, which it may be sent to.
func (r *secretReader) hubToken(ctx context.Context, e hubEndpoint) ([]byte, error) {
	if e.token == nil {
		return nil, nil
	}
	s, err := r.sendable(ctx, e.token)
	if err == nil && e.bound {
		err = checkHost(s, identity.HostOf(e.url))
	}
	if err != nil {
		return nil, err
	}
	return valueOf(s, e.token.key), nil
}

// hubOptions returns how to connect to a Hub.
func (r *secretReader) hubOptions(ctx context.Context, e hubEndpoint) (hub.Options, error) {
	o := hub.Options{Endpoint: e.url, UserAgent: version.UserAgent()}
	token, err := r.hubToken(ctx, e)
	if err != nil {
		return o, err
	}
	o.Token = string(token)
	o.CA, err = r.value(ctx, e.ca)
	return o, err
}

// registryOptions returns how to connect to an endpoint, as it is remembered or
// read.
func (r *secretReader) registryOptions(ctx context.Context, e endpoint) (registry.Options, error) {
	if r.memory == nil || (e.credentials == nil && e.certs == nil) {
		return r.readOptions(ctx, e)
	}
	return r.memory.options(ctx, e, r.readOptions)
}

// readOptions reads the Secrets of an endpoint.
func (r *secretReader) readOptions(ctx context.Context, e endpoint) (registry.Options, error) {
	o := registry.Options{Host: e.host, PlainHTTP: e.plainHTTP, Repository: e.repository}
	var err error
	if o.DockerConfig, err = r.value(ctx, e.credentials); err != nil {
		return registry.Options{}, err
	}
	if o.Credential, err = r.identityOf(e); err != nil {
		return registry.Options{}, err
	}
	if e.identity {
		o.Cures = o.Cures.ForIdentity()
	}
	if err := r.readCertificates(ctx, e.certs, &o); err != nil {
		return registry.Options{}, err
	}
	if e.anonymous {
		o.Certificate, o.Key = nil, nil
	}
	return o, nil
}

// identityOf returns the account that an endpoint's cloud gives to the provider; nil if
// the endpoint uses none.
func (r *secretReader) identityOf(e endpoint) (func(context.Context) (registry.Credential, error), error) {
	if !e.identity {
		return nil, nil //nolint:nilnil // There is none.
	}
	source, err := r.identities.At(e.host)
	if err != nil {
		return nil, outcome.Errorf(outcome.ReasonOf(err), "The provider cannot use credentials.source InjectedIdentity: %s", err).Because(err)
	}
	return func(ctx context.Context) (registry.Credential, error) {
		user, password, _, err := source.Token(ctx)
		return registry.Credential{Username: user, Password: password}, err
	}, nil
}

// readCertificates reads certificate authorities, a client certificate with its
// key, or both from a registry's certSecretRef; or from a key that is named the
// authorities alone.
func (r *secretReader) readCertificates(ctx context.Context, k *secretKey, o *registry.Options) error {
	if k == nil {
		return nil
	}
	s, err := r.get(ctx, k)
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
		return lacking(`"tls.key" beside "tls.crt": add the certificate's key, or remove "tls.crt"`)
	case len(o.Key) > 0 && len(o.Certificate) == 0:
		return lacking(`"tls.crt" beside "tls.key": add the key's certificate, or remove "tls.key"`)
	case len(o.CA) == 0 && len(o.Certificate) == 0:
		return lacking(`"ca.crt", nor for "tls.crt" and "tls.key": add it, or both of these`)
	}
	return nil
}

const (
	// maxRemembered bounds how many endpoints' credentials are remembered.
	maxRemembered = 1024

	// maxRememberedKeys bounds how many signing keys are remembered.
	maxRememberedKeys = 64

	// maxRememberedBytes bounds the credentials of one endpoint. Bundles of
	// certificate authorities may be larger, and are read each time.
	maxRememberedBytes = 16 << 10
)

// A CredentialMemory remembers how to connect to registries, and the keys that configs
// sign with: of the Secrets that say so only what is for the one registry, or the one
// key, and only while the watch of their metadata shows the version that was read. It is
// safe for concurrent use.
type CredentialMemory struct {
	// metadata reads the cache of Secrets' metadata.
	metadata client.Reader

	// known maps a credentialID to credentials, and keys a signingSecret to a knownKey.
	known, keys *lru.Cache
}

// NewCredentialMemory returns an empty memory. The reader has the metadata of
// Secrets.
func NewCredentialMemory(metadata client.Reader) *CredentialMemory {
	return &CredentialMemory{metadata: metadata, known: lru.New(maxRemembered), keys: lru.New(maxRememberedKeys)}
}

// A credentialID is what credentials are remembered by: the registry, and the
// Secrets.
type credentialID struct {
	host                           string
	plainHTTP, anonymous, identity bool
	credentials, certs             secretKey
}

// credentialIDOf returns what the credentials of an endpoint are remembered by.
func credentialIDOf(e endpoint) credentialID {
	id := credentialID{host: e.host, plainHTTP: e.plainHTTP, anonymous: e.anonymous, identity: e.identity}
	if e.credentials != nil {
		id.credentials = *e.credentials
	}
	if e.certs != nil {
		id.certs = *e.certs
	}
	return id
}

// credentials are options that Secrets of a version give.
type credentials struct {
	version string
	options registry.Options
}

// options returns how to connect to an endpoint. What is not known, or not
// current, is read.
func (m *CredentialMemory) options(ctx context.Context, e endpoint, read func(context.Context, endpoint) (registry.Options, error)) (registry.Options, error) {
	id := credentialIDOf(e)
	version, ok := shownVersions(ctx, m.metadata, e.credentials, e.certs)
	if !ok {
		m.known.Remove(id)
		return read(ctx, e)
	}
	if known, ok := m.known.Get(id); ok {
		if c, ok := known.(credentials); ok && c.version == version {
			c.options.Repository = e.repository
			return c.options, nil
		}
	}
	o, err := read(ctx, e)
	if err != nil {
		m.known.Remove(id)
		return o, err
	}
	m.remember(id, version, o)
	return o, nil
}

// has reports whether it is remembered how to connect to an endpoint, by Secrets of the
// versions that the watch of their metadata shows.
func (m *CredentialMemory) has(ctx context.Context, e endpoint) bool {
	version, ok := shownVersions(ctx, m.metadata, e.credentials, e.certs)
	if !ok {
		return false
	}
	known, ok := m.known.Get(credentialIDOf(e))
	c, is := known.(credentials)
	return ok && is && c.version == version
}

// remember what was read. The watch may be behind what was read: then it shows
// another version soon, and the Secrets are read again.
func (m *CredentialMemory) remember(id credentialID, version string, o registry.Options) {
	o.DockerConfig = registry.EntriesForHost(o.DockerConfig, o.Host)
	if len(o.DockerConfig)+len(o.CA)+len(o.Certificate)+len(o.Key) > maxRememberedBytes {
		m.known.Remove(id)
		return
	}
	m.known.Add(id, credentials{version: version, options: o})
}

// shownVersions returns the versions of Secrets as the watch of their metadata shows
// them, and reports whether they are known of all.
func shownVersions(ctx context.Context, metadata client.Reader, keys ...*secretKey) (string, bool) {
	out := ""
	for _, k := range keys {
		if k == nil {
			continue
		}
		version, ok := shownVersion(ctx, metadata, k)
		if !ok {
			return "", false
		}
		out += version + ","
	}
	return out, true
}

// shownVersion returns the version of a Secret as the watch of its metadata shows it, and
// reports whether it is known.
func shownVersion(ctx context.Context, metadata client.Reader, k *secretKey) (string, bool) {
	s := &metav1.PartialObjectMetadata{}
	s.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := metadata.Get(ctx, k.NamespacedName, s); err != nil {
		return "", false
	}
	return versionOf(s), true
}

// versionOf returns the version of a Secret.
func versionOf(s metav1.Object) string { return string(s.GetUID()) + "/" + s.GetResourceVersion() }
