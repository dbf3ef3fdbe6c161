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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// Keys of the Secret that a run gets with copies of credentials. The key of
	// the registry's docker config is corev1.DockerConfigJsonKey.
	copyRegistryCA          = "registry-ca.crt"
	copyRegistryCertificate = "registry-tls.crt"
	copyRegistryKey         = "registry-tls.key"
	copyHubToken            = "hub-token"
	copyHubCA               = "hub-ca.crt"

	// Keys of what the registry of source.oci requires.
	copySourceCredentials = "source-config.json" //nolint:gosec // A name.
	copySourceCA          = "source-ca.crt"
	copySourceCertificate = "source-tls.crt"
	copySourceKey         = "source-tls.key"
	copySourceVerify      = "source-verify"
)

// effective returns what the config adds to the Artifact's spec for runs, but for
// Secrets.
func (p *providerConfig) effective(e endpoint) modelv1alpha1.Effective {
	cloud := ""
	if e.identity {
		cloud = identity.CloudOf(e.host)
	}
	return modelv1alpha1.Effective{
		Registry:           e.host,
		RegistryIdentity:   cloud,
		PlainHTTP:          e.plainHTTP,
		HubEndpoint:        string(p.HuggingFace.Endpoint),
		HubIdentity:        p.hubIdentity(),
		ServiceAccountName: p.Job.ServiceAccountName,
		ImagePullSecrets:   p.Job.ImagePullSecrets,
		Env:                p.Job.Env,
		HostAliases:        p.Job.HostAliases,
		Pod:                p.Job.PodSettings,
		Pipeline:           p.Job.Pipeline,
		Storage:            p.Job.Storage,
		Job:                &p.Job.JobSettings,
	}
}

// addSecrets adds to the effective settings the keys of Secrets that a run mounts:
// of Secrets in the Artifact's namespace, or of the copies that SecretData
// returns. In another namespace there are copies only.
func (s *Settings) addSecrets(ctx context.Context) error {
	e, target := &s.Effective, s.registry
	e.RegistryCredentials = target.credentials.mounted(corev1.DockerConfigJsonKey, corev1.DockerConfigJsonKey)
	if copiesEntry(target, s.Registry) && (!target.credentials.copied || s.copiesAll) {
		e.CopiedCredentials = artifact.SecretKey(artifact.CopiedSecret, corev1.DockerConfigJsonKey)
	}
	if len(s.Registry.CA) > 0 {
		e.RegistryCA = target.certs.mounted(artifact.KeyCA, copyRegistryCA)
	}
	if len(s.Registry.Certificate) > 0 {
		e.RegistryCertificate = target.certs.mounted(corev1.TLSCertKey, copyRegistryCertificate)
		e.RegistryKey = target.certs.mounted(corev1.TLSPrivateKeyKey, copyRegistryKey)
	}
	if t := s.hub.token; t != nil {
		e.HubToken = t.mounted(t.key, copyHubToken)
		if s.hub.bound {
			// No run of a tenant's config executes elsewhere, so there is no copy.
			e.HubTokenHosts = artifact.SecretKey(t.Name, identity.KeyHost)
		}
	}
	e.HubCA = s.hub.ca.mounted(artifact.KeyCA, copyHubCA)
	return s.addSource(ctx)
}

// addSource adds how a run connects to the registry of source.oci. It ignores an
// invalid reference and a Secret that does not exist: the artifact that was pushed
// needs neither, and ConfigHash reports both before a run begins.
func (s *Settings) addSource(ctx context.Context) error {
	if s.source == nil {
		return nil
	}
	access := &modelv1alpha1.SourceAccess{
		PlainHTTP:   s.source.plainHTTP,
		Credentials: s.source.credentials.mounted(corev1.DockerConfigJsonKey, copySourceCredentials),
		Identity:    s.source.identity,
	}
	if s.copiesAll && (s.source.verify != nil || s.source.verifyConfigMap != nil) {
		file := artifact.SecretKey(artifact.CopiedSecret, copySourceVerify)
		if s.source.verifiesByRoot {
			access.TrustedRoot = file
		} else {
			access.VerifyKey = file
		}
	}
	s.Effective.Source = access
	certs := s.source.certs
	if certs == nil || certs.key != "" {
		access.CA = certs.mounted(artifact.KeyCA, copySourceCA)
		return nil
	}
	e := *s.source
	e.credentials = nil
	o, err := s.secrets.registryOptions(ctx, e)
	if outcome.ReasonOf(err) == outcome.ConfigMissing {
		return nil
	}
	if len(o.CA) > 0 {
		access.CA = certs.mounted(artifact.KeyCA, copySourceCA)
	}
	if len(o.Certificate) > 0 {
		access.Certificate = certs.mounted(corev1.TLSCertKey, copySourceCertificate)
		access.Key = certs.mounted(corev1.TLSPrivateKeyKey, copySourceKey)
	}
	return err
}

// copyAllSecrets has runs get copies of all Secrets that they use, of whichever
// namespace: they execute where there are no others.
func (s *Settings) copyAllSecrets() {
	s.copiesAll = true
	keys := []*secretKey{s.registry.credentials, s.registry.certs, s.hub.token, s.hub.ca, s.folder.credentials, s.folder.ca}
	if s.source != nil {
		keys = append(keys, s.source.credentials, s.source.certs, s.source.verify)
	}
	for _, k := range keys {
		if k != nil {
			k.copied = true
		}
	}
}

// mounted returns the key of a Secret that a run mounts, or the key of its copy;
// nil for no Secret.
func (k *secretKey) mounted(key, copyKey string) *corev1.SecretKeySelector {
	switch {
	case k == nil:
		return nil
	case k.copied:
		return artifact.SecretKey(artifact.CopiedSecret, copyKey)
	}
	return artifact.SecretKey(k.Name, key)
}

// copiesEntry reports whether a run gets a copy of the docker config's entry for
// its registry: of another namespace's Secret, and where the entry has another
// name than the registry's host, by which kit does not find it.
func copiesEntry(e endpoint, o registry.Options) bool {
	return e.credentials != nil && (e.credentials.copied || !registry.IsPlain(o.DockerConfig, o.Host, o.Repository))
}

// SecretData returns the data of the Secret that a run gets with copies of
// credentials which it cannot use where they are: of a ClusterProviderConfig's the
// one entry for the registry, the Hub's token and the certificates; of other
// Secrets the entry that kit would not find, or, if the run executes in another
// namespace than the Artifact's, as much as of a ClusterProviderConfig's. It is empty if
// the run needs none.
func (s Settings) SecretData(ctx context.Context) (map[string][]byte, error) {
	out := map[string][]byte{}
	if s.copiesNothing() {
		// What would be copied is not read.
		return out, nil
	}
	o, err := s.secrets.registryOptions(ctx, s.registry)
	if err != nil {
		return nil, err
	}
	if copiesEntry(s.registry, o) {
		if out[corev1.DockerConfigJsonKey], err = registry.DockerConfigFor(o.DockerConfig, o.Host, o.Repository); err != nil {
			return nil, err
		}
	}
	if c := s.registry.certs; c != nil && c.copied {
		out[copyRegistryCA], out[copyRegistryCertificate], out[copyRegistryKey] = o.CA, o.Certificate, o.Key
	}
	for _, add := range []func(context.Context, map[string][]byte) error{s.copyHub, s.copySource, s.copyFolder} {
		if err := add(ctx, out); err != nil {
			return nil, err
		}
	}
	maps.DeleteFunc(out, func(_ string, value []byte) bool { return len(value) == 0 })
	return out, nil
}

// copiesNothing reports whether a run gets no copy of anything, as was decided when the
// settings were resolved: what it mounts follows from that.
func (s Settings) copiesNothing() bool {
	readsSource := s.source != nil && (s.sourceErr != nil || s.copiesAll)
	return len(s.copied()) == 0 && !readsSource
}

// copied returns the references to the Secrets of which a run gets copies.
func (s Settings) copied() []*secretKey {
	all := []*secretKey{s.registry.certs, s.hub.token, s.hub.ca, s.folder.credentials, s.folder.ca}
	if s.source != nil {
		all = append(all, s.source.credentials, s.source.certs, s.source.verify)
	}
	all = slices.DeleteFunc(all, func(k *secretKey) bool { return k == nil || !k.copied })
	if k := s.registry.credentials; k != nil && (k.copied || s.Effective.CopiedCredentials != nil) {
		all = append(all, k)
	}
	return all
}

// CopyHash returns a hash of the versions of the Secrets that SecretData copied, where it
// was called after ConfigHash or Renewed.
func (s Settings) CopyHash(ctx context.Context) (string, error) {
	versions := ""
	for _, k := range s.copied() {
		secret, err := s.secrets.get(ctx, k)
		if err != nil {
			return "", err
		}
		versions += versionOf(secret) + ","
	}
	return hashOf(versions), nil
}

// Renewed returns what SecretData and CopyHash do, as the Secrets are now.
func (s Settings) Renewed(ctx context.Context) (data map[string][]byte, hash string, err error) {
	s.secrets.refresh()
	if data, err = s.SecretData(ctx); err != nil {
		return nil, "", err
	}
	hash, err = s.CopyHash(ctx)
	return data, hash, err
}

// CopyIsOutdated reports whether Secrets have changed since they were copied to the Secret
// of this name, as the watch of their metadata shows. A Secret that is gone has not: the
// run goes on with what it has.
func (s Settings) CopyIsOutdated(ctx context.Context, name types.NamespacedName) bool {
	own := &metav1.PartialObjectMetadata{}
	own.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := s.metadata.Get(ctx, name, own); err != nil {
		return false
	}
	versions, ok := shownVersions(ctx, s.metadata, s.copied()...)
	return ok && own.GetAnnotations()[artifact.AnnotationCopyHash] != hashOf(versions)
}

// hashOf returns a short hash of a text.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// copyHub adds copies of what the Hub requires.
func (s Settings) copyHub(ctx context.Context, out map[string][]byte) error {
	var err error
	if t := s.hub.token; t != nil && t.copied {
		if out[copyHubToken], err = s.secrets.hubToken(ctx, s.hub); err != nil {
			return err
		}
	}
	if ca := s.hub.ca; ca != nil && ca.copied {
		out[copyHubCA], err = s.secrets.value(ctx, ca)
	}
	return err
}

// copySource adds copies of what the registry of source.oci requires.
func (s Settings) copySource(ctx context.Context, out map[string][]byte) error {
	if s.source == nil || s.sourceErr != nil {
		return s.sourceErr
	}
	e := *s.source
	if e.credentials != nil && !e.credentials.copied {
		e.credentials = nil
	}
	if e.certs != nil && !e.certs.copied {
		e.certs = nil
	}
	o, err := s.secrets.registryOptions(ctx, e)
	if err != nil {
		return err
	}
	out[copySourceCA], out[copySourceCertificate], out[copySourceKey] = o.CA, o.Certificate, o.Key
	if e.credentials != nil {
		if out[copySourceCredentials], err = registry.DockerConfigFor(o.DockerConfig, o.Host, o.Repository); err != nil {
			return err
		}
	}
	if !s.copiesAll {
		return nil
	}
	if e.verifyConfigMap != nil {
		out[copySourceVerify], err = s.secrets.configMapValue(ctx, e.verifyConfigMap)
		return err
	}
	out[copySourceVerify], err = s.secrets.value(ctx, e.verify)
	return err
}

// ConfigHash identifies the state of the ProviderConfig, of others whose policies
// apply, and of all Secrets that a run uses, by their versions and not by what they hold. It returns an error that
// names the Secret which does not exist, or which must not be sent to the run's server. It
// is called where a run is about to begin, so it reads the Secrets from the API server
// itself, and what is read after it is of the same versions. Those for the registry are not
// read again if none is copied and their watch shows the version that was read before: the
// run's Pod reads them itself, and of thousands of runs that begin together each would ask
// for the same Secret.
func (s Settings) ConfigHash(ctx context.Context) (string, error) {
	known := s.knownVersions(ctx)
	s.secrets.refresh()
	if s.sourceErr != nil {
		return "", s.sourceErr
	}
	if err := s.checkFolder(ctx); err != nil {
		return "", err
	}
	if _, err := s.secrets.hubToken(ctx, s.hub); err != nil {
		return "", err
	}
	used := []*secretKey{s.registry.credentials, s.registry.certs, s.hub.token, s.hub.ca, s.folder.credentials, s.folder.ca}
	if s.source != nil {
		used = append(used, s.source.credentials, s.source.certs, s.source.verify)
	}
	versions := append([]string{s.config.version}, s.policyVersions...)
	for _, k := range used {
		if k == nil {
			continue
		}
		if version, ok := known[k]; ok {
			versions = append(versions, version)
			continue
		}
		secret, err := s.secrets.get(ctx, k)
		if err != nil {
			return "", err
		}
		versions = append(versions, versionOf(secret))
	}
	return hashOf(strings.Join(versions, ",")), nil
}

// knownVersions returns the versions of the Secrets for the registry, if they are remembered
// and none is copied; else nil.
func (s Settings) knownVersions(ctx context.Context) map[*secretKey]string {
	m := s.secrets.memory
	if m == nil || len(s.copied()) > 0 || !m.has(ctx, s.registry) {
		return nil
	}
	out := map[*secretKey]string{}
	for _, k := range []*secretKey{s.registry.credentials, s.registry.certs} {
		if k == nil {
			continue
		}
		version, ok := shownVersion(ctx, m.metadata, k)
		if !ok {
			return nil
		}
		out[k] = version
	}
	return out
}

// maxMounts bounds how many artifacts a run mounts blobs from.
const maxMounts = 4

// MountFrom returns what other Artifacts of the same model have pushed to other
// repositories of the Artifact's registry, as repository@digest: a registry can
// mount their blobs, which are not transferred then. They are of the same namespace
// and the same ProviderConfig, so that no tenant gets the blobs of another. Without
// a list of Artifacts there are none, and all blobs are transferred.
func (s Settings) MountFrom(ctx context.Context, a *modelv1alpha1.Artifact) []string {
	if artifact.Pipeline(a) != modelv1alpha1.PipelineStream {
		return nil
	}
	list := &modelv1alpha1.ArtifactList{}
	// The list is not modified.
	if err := s.cached.List(ctx, list, client.InNamespace(a.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var found []*modelv1alpha1.Artifact
	for i := range list.Items {
		other := &list.Items[i]
		if _, ok := s.mountable(a, other); ok && !meta.WasDeleted(other) && artifact.SameModel(a, other) &&
			equality.Semantic.DeepEqual(a.GetProviderConfigReference(), other.GetProviderConfigReference()) {
			found = append(found, other)
		}
	}
	// Artifacts of the same format have the same layers.
	likely := func(o *modelv1alpha1.Artifact) int {
		if o.Status.AtProvider.Format == string(a.Spec.ForProvider.Format) {
			return 0
		}
		return 1
	}
	slices.SortFunc(found, func(a, b *modelv1alpha1.Artifact) int {
		return cmp.Or(cmp.Compare(likely(a), likely(b)), strings.Compare(a.GetName(), b.GetName()))
	})
	var out []string
	for _, o := range found[:min(len(found), maxMounts)] {
		pinned, _ := s.mountable(a, o)
		out = append(out, pinned)
	}
	return out
}

// mountable returns what another Artifact has pushed, as repository@digest, and
// reports whether a run of this Artifact may mount blobs from it: it is in another
// repository of the same registry, which the ProviderConfig admits for the
// namespace. The status alone is not trusted: a tenant may be able to write it.
func (s Settings) mountable(a, other *modelv1alpha1.Artifact) (string, bool) {
	ref, err := registry.ParseReference(other.Status.AtProvider.PinnedReference)
	if err != nil || ref.Digest == "" || ref.Registry != artifact.Registry(a) || ref.Repository == artifact.Repository(a) ||
		!strings.HasPrefix(ref.Repository, s.config.prefixFor(a)) {
		return "", false
	}
	return ref.Repository + "@" + ref.Digest.String(), true
}
