package settings

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A providerConfig is a ProviderConfig of either kind.
type providerConfig struct {
	v1alpha1.ClusterProviderConfigSpec

	name string

	// version of the spec.
	version string

	// cluster reports whether it is a ClusterProviderConfig: an administrator's,
	// with Secrets of any namespace.
	cluster bool

	// ready is why the config is not Ready, as was found out of its spec; the zero value
	// if it is, or if that is not known.
	ready xpv2.Condition

	// adopt is the value of artifact.AnnotationAdopt; empty for none.
	adopt string
}

// readConfig reads the ProviderConfig of either kind that the Artifact names. It
// returns an error with reason ConfigMissing if there is none.
func readConfig(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (*providerConfig, error) {
	ref := a.GetProviderConfigReference()
	if ref == nil {
		return nil, outcome.Errorf(outcome.ConfigMissing, "No ProviderConfig is named: write spec.providerConfigRef with kind and name")
	}
	switch ref.Kind {
	case v1alpha1.ProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ProviderConfig{}
		err := kube.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, pc)
		return fromProviderConfig(pc), describeMissing(err, ref)
	case v1alpha1.ClusterProviderConfigGroupVersionKind.Kind:
		pc := &v1alpha1.ClusterProviderConfig{}
		err := kube.Get(ctx, types.NamespacedName{Name: ref.Name}, pc)
		return fromClusterProviderConfig(pc), describeMissing(err, ref)
	}
	return nil, outcome.Errorf(outcome.ConfigMissing, "spec.providerConfigRef.kind is %q: write ProviderConfig or ClusterProviderConfig", ref.Kind)
}

// describeMissing distinguishes a ProviderConfig that does not exist from one that
// cannot be read.
func describeMissing(err error, ref *xpv2.ProviderConfigReference) error {
	if kerrors.IsNotFound(err) {
		return outcome.Errorf(outcome.ConfigMissing, "%s %q does not exist: create it, or write another in spec.providerConfigRef", ref.Kind, ref.Name)
	}
	return errors.Wrapf(err, "cannot get %s %q", ref.Kind, ref.Name)
}

// fromClusterProviderConfig returns a ClusterProviderConfig.
func fromClusterProviderConfig(pc *v1alpha1.ClusterProviderConfig) *providerConfig {
	p := newConfig(pc, pc.Spec)
	p.cluster = true
	return p
}

// fromProviderConfig returns a ProviderConfig as a ClusterProviderConfig that has
// no more than a ProviderConfig can have. It is a tenant's: its Secrets are those
// of its own namespace.
func fromProviderConfig(pc *v1alpha1.ProviderConfig) *providerConfig {
	secret := func(r *xpv2.LocalSecretReference) *xpv2.SecretReference {
		if r == nil {
			return nil
		}
		return &xpv2.SecretReference{Namespace: pc.GetNamespace(), Name: r.Name}
	}
	r := pc.Spec.Registry
	out := v1alpha1.ClusterProviderConfigSpec{Registry: v1alpha1.ClusterRegistryConfig{
		Host:          r.Host,
		PlainHTTP:     r.PlainHTTP,
		CertSecretRef: secret(r.CertSecretRef),
		Credentials:   v1alpha1.ClusterRegistryCredentials{Source: r.Credentials.Source, SecretRef: secret(r.Credentials.SecretRef)},
	}}
	if hf := pc.Spec.HuggingFace; hf != nil {
		out.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: hf.Endpoint, CertSecretRef: secret(hf.CertSecretRef)}
		if t := hf.TokenSecretRef; t != nil {
			out.HuggingFace.TokenSecretRef = &xpv2.SecretKeySelector{SecretReference: *secret(&t.LocalSecretReference), Key: t.Key}
		}
	}
	if pc.Spec.Job != nil {
		out.Job = &v1alpha1.ClusterJobConfig{JobConfig: *pc.Spec.Job}
		// A tenant decides neither where runs execute nor how many.
		out.Job.Namespace, out.Job.MaxRuns, out.Job.MaxPriority, out.Job.MaxParallelism = "", nil, 0, 0
	}
	if pc.Spec.Policy != nil {
		// What tenants may set is not theirs to allow.
		out.Policy = &v1alpha1.ClusterPolicy{ContentPolicy: *pc.Spec.Policy}
	}
	return newConfig(pc, out)
}

// newConfig returns a config of an object with a spec.
func newConfig(o resource.ProviderConfig, spec v1alpha1.ClusterProviderConfigSpec) *providerConfig {
	if spec.HuggingFace == nil {
		spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{}
	}
	if spec.Job == nil {
		spec.Job = &v1alpha1.ClusterJobConfig{}
	}
	ready := o.GetCondition(xpv2.TypeReady)
	if ready.Status != corev1.ConditionFalse || ready.ObservedGeneration != o.GetGeneration() {
		ready = xpv2.Condition{}
	}
	return &providerConfig{
		ClusterProviderConfigSpec: spec,
		ready:                     ready,
		name:                      o.GetName(),
		version:                   string(o.GetUID()) + "/" + strconv.FormatInt(o.GetGeneration(), 10),
		adopt:                     o.GetAnnotations()[artifact.AnnotationAdopt],
	}
}

// String names the config in messages.
func (p *providerConfig) String() string {
	kind := v1alpha1.ProviderConfigGroupVersionKind.Kind
	if p.cluster {
		kind = v1alpha1.ClusterProviderConfigGroupVersionKind.Kind
	}
	return fmt.Sprintf("%s %q", kind, p.name)
}

// host of the config's registry.
func (p *providerConfig) host() string { return string(p.Registry.Host) }

// namespacePlaceholder stands for the Artifact's namespace in a
// ClusterProviderConfig's registry.repositoryPrefix.
const namespacePlaceholder = "{namespace}"

// prefixFor returns what the repositories start with that the Artifact's namespace
// may use; "" for any.
func (p *providerConfig) prefixFor(a *modelv1alpha1.Artifact) string {
	return strings.ReplaceAll(p.Registry.RepositoryPrefix, namespacePlaceholder, a.GetNamespace())
}

// runNamespace returns the namespace in which runs of the Artifact execute.
func (p *providerConfig) runNamespace(a *modelv1alpha1.Artifact) string {
	return cmp.Or(p.Job.Namespace, a.GetNamespace())
}

// secret returns the reference to a key of a Secret that the config names, or to
// the Secret as a whole for no key; nil for none.
func (p *providerConfig) secret(r *xpv2.SecretReference, key string) *secretKey {
	if r == nil {
		return nil
	}
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, key: key, copied: p.cluster}
}

// hubIdentity returns the resource of the Hub for which runs exchange their identity;
// empty for none. No run in an Artifact's own namespace has one.
func (p *providerConfig) hubIdentity() string {
	if i := p.HuggingFace.Identity; i != nil && p.Job.Namespace != "" {
		return i.Resource
	}
	return ""
}

// sourceIdentity reports whether runs read the Artifact's bucket by the identity that its
// cloud gives them: the config must allow the bucket, and the Artifact name no Secret for
// it, and nobody else who pays for it than its owner. No run in an Artifact's own namespace
// does, none that trusts authorities of a tenant's choice, and none without TLS.
func (p *providerConfig) sourceIdentity(a *modelv1alpha1.Artifact) bool {
	f := artifact.FolderOf(a)
	if !p.cluster || p.SourceIdentity == nil || p.Job.Namespace == "" || f == nil || !f.IsBucket || f.ReaderPays || f.Credentials != nil || f.CA != nil {
		return false
	}
	return !strings.HasPrefix(f.Name, "http://") && p.listsBucket(a)
}

// listsBucket reports whether an administrator lists the Artifact's bucket in
// sourceIdentity: the provider may connect to it in a private network.
func (p *providerConfig) listsBucket(a *modelv1alpha1.Artifact) bool {
	f := artifact.FolderOf(a)
	if !p.cluster || p.SourceIdentity == nil || f == nil {
		return false
	}
	return slices.ContainsFunc(p.SourceIdentity.Allow, func(b v1alpha1.BucketPattern) bool { return matchesBucket(string(b), f.Name) })
}

// knowsRegistry reports whether the provider may ask a registry which tag has moved, wherever
// that is: it is the config's own, or an administrator's policy names it. Any other one is
// whatever the Artifact's author writes.
func (p *providerConfig) knowsRegistry(host string) bool {
	if host == p.host() {
		return true
	}
	if !p.cluster || p.Policy == nil || p.Policy.Models == nil {
		return false
	}
	return slices.ContainsFunc(p.Policy.Models.Allow, func(m v1alpha1.ModelPattern) bool {
		named, _, ok := strings.Cut(string(m), "/")
		return ok && named == host
	})
}

// matchesBucket reports whether a pattern stands for the folder of this name. A * is any
// characters but a slash, so that a folder is never taken for a part of a bucket's name,
// and /* at the end is all that is below.
func matchesBucket(pattern, name string) bool {
	base, below := strings.CutSuffix(pattern, "/*")
	depth, parts := strings.Count(base, "/")+1, strings.Split(name, "/")
	if len(parts) < depth || !below && len(parts) > depth {
		return false
	}
	matched, err := path.Match(base, strings.Join(parts[:depth], "/"))
	return err == nil && matched
}

// usesIdentity reports whether the config's registry is accessed by an identity of its
// cloud.
func (p *providerConfig) usesIdentity() bool {
	return p.Registry.Credentials.Source == xpv2.CredentialsSourceInjectedIdentity
}

// checkIdentity returns an error with reason NotAllowed if the config uses an identity that
// it must not use: no tenant's config has one, and no run in a tenant's namespace.
func (p *providerConfig) checkIdentity() error {
	if !p.usesIdentity() || p.cluster && p.Job.Namespace != "" {
		return nil
	}
	return outcome.Errorf(outcome.NotAllowed, "credentials.source InjectedIdentity is for a ClusterProviderConfig with job.namespace only: write Secret or None, or use such a config")
}

// hubToken returns the reference to the config's token for the Hub, if any.
func (p *providerConfig) hubToken() *secretKey {
	if t := p.HuggingFace.TokenSecretRef; t != nil {
		return p.secret(&t.SecretReference, t.Key)
	}
	return nil
}
