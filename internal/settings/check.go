package settings

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A ConfigState is what a ProviderConfig of either kind configures, once the Secrets
// that it names are there.
type ConfigState struct {
	// Registries are how to connect to the config's registry: once for each account
	// that its Secret has for repositories that the config may be used for, once if it
	// has none.
	Registries []registry.Options

	// Version changes with the config's spec and with each of its Secrets. It is empty
	// if not all of the Secrets are known to the cache.
	Version string
}

// CheckConfig checks a config of either kind and the Secrets that it names. Its errors
// are those that an Artifact of the config would get. It reads nothing from the API
// server if the config's version is the one that was checked before, and what its
// Secrets have for registries and signatures is remembered.
func (r *Resolver) CheckConfig(ctx context.Context, o client.Object, checked string) (ConfigState, error) {
	var p *providerConfig
	switch o := o.(type) {
	case *v1alpha1.ProviderConfig:
		p = fromProviderConfig(o)
	case *v1alpha1.ClusterProviderConfig:
		p = fromClusterProviderConfig(o)
	default:
		return ConfigState{}, outcome.Errorf(outcome.Internal, "%T is no ProviderConfig", o)
	}
	if _, err := p.selector(); err != nil {
		return ConfigState{}, err
	}
	if err := r.checkRunNamespace(ctx, p, o.GetNamespace()); err != nil {
		return ConfigState{}, err
	}
	if err := p.checkIdentity(); err != nil {
		return ConfigState{}, err
	}
	s := ConfigState{}
	if versions, ok := shownVersions(ctx, r.Metadata, secretsOf(p)...); ok {
		s.Version = p.version + "," + versions
	}
	secrets := &secretReader{kube: r.Direct, memory: r.Credentials, identities: r.Identities}
	if s.Version == "" || s.Version != checked {
		if err := secrets.check(ctx, p); err != nil {
			return s, err
		}
	}
	if err := p.attestationFor(ctx, r.Cached, secrets).Unusable; err != nil && !meta.IsNoMatchError(err) {
		// Without the kind there are no Artifacts that could reach the signing key.
		return s, err
	}
	options, err := secrets.registryOptions(ctx, p.registryEndpoint())
	if err != nil {
		return s, err
	}
	s.Registries, err = p.accounts(options)
	return s, err
}

// checkRunNamespace returns an error with reason NotAllowed if no run of a config would
// execute in a namespace that the provider uses, and one with reason ConfigMissing if its
// job.namespace does not exist.
func (r *Resolver) checkRunNamespace(ctx context.Context, p *providerConfig, own string) error {
	namespace := cmp.Or(p.Job.Namespace, own)
	if len(r.RunNamespaces) == 0 || slices.Contains(r.RunNamespaces, namespace) {
		return r.checkExists(ctx, p.Job.Namespace)
	}
	cure := "write one of these into its job.namespace"
	if !p.cluster {
		cure = "use a ClusterProviderConfig whose job.namespace is one of these"
	}
	return outcome.Errorf(outcome.NotAllowed, "The provider executes runs only in %s, and this config has none of these: %s, or ask the provider's administrator for another --run-namespace",
		strings.Join(r.RunNamespaces, ", "), cure)
}

// checkExists returns an error if runs cannot begin in a job.namespace, since it does not
// exist or is being deleted.
func (r *Resolver) checkExists(ctx context.Context, namespace string) error {
	if namespace == "" {
		return nil
	}
	ns := Namespace()
	err := r.Metadata.Get(ctx, types.NamespacedName{Name: namespace}, ns)
	switch {
	case kerrors.IsNotFound(err):
		return artifact.NoRunNamespace(namespace, false)
	case err != nil:
		return errors.Wrapf(err, "cannot get namespace %q", namespace)
	case ns.GetDeletionTimestamp() != nil:
		return artifact.NoRunNamespace(namespace, true)
	}
	return nil
}

// Namespace returns an empty namespace as the cache has them: metadata only.
func Namespace() *metav1.PartialObjectMetadata {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return ns
}

// check reads all Secrets that a config names.
func (r *secretReader) check(ctx context.Context, p *providerConfig) error {
	for _, k := range secretsOf(p) {
		if k == nil {
			continue
		}
		if _, err := r.get(ctx, k); err != nil {
			return err
		}
	}
	o, err := r.hubOptions(ctx, p.hubEndpoint())
	if err != nil {
		return err
	}
	c, err := hub.New(o)
	if err != nil {
		return err
	}
	c.Close()
	return nil
}

// accounts returns the options for each account that a config's credentials have for
// its registry. It returns an error if they have none.
func (p *providerConfig) accounts(o registry.Options) ([]registry.Options, error) {
	if len(o.DockerConfig) == 0 {
		return []registry.Options{o}, nil
	}
	prefix, _, _ := strings.Cut(p.Registry.RepositoryPrefix, namespacePlaceholder)
	paths := registry.PathsFor(o.DockerConfig, o.Host, prefix)
	if len(paths) == 0 {
		// What is wrong with them is said where an account is needed.
		paths = []string{""}
	}
	var out []registry.Options
	for _, path := range paths {
		account := o
		account.Repository = path
		var err error
		if account.DockerConfig, err = registry.DockerConfigFor(o.DockerConfig, o.Host, path); err != nil {
			return nil, err
		}
		out = append(out, account)
	}
	return out, nil
}

// selector returns which namespaces a config is for: all if it does not say. It
// returns an error with reason NotAllowed if its namespaceSelector is invalid.
func (p *providerConfig) selector() (labels.Selector, error) {
	if p.NamespaceSelector == nil {
		return labels.Everything(), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(p.NamespaceSelector)
	if err != nil {
		return nil, outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q has an invalid namespaceSelector: correct it", p.name).Because(err)
	}
	return selector, nil
}

// SameAsConfig returns what the message of an Artifact's failure says about its config,
// if that is not Ready for the same reason; empty if it is Ready, or if the failure is
// about what the Artifact itself names.
func (s Settings) SameAsConfig(reason outcome.Reason, message string) string {
	c := s.config
	if c == nil || c.ready.Reason != xpv2.ConditionReason(reason) {
		return ""
	}
	// The same Secret is named by both, or the registry refuses the same account.
	own := s.registry.host != c.host() || s.ownCredentials
	if message != c.ready.Message && (own || !strings.Contains(message, c.host())) {
		return ""
	}
	return c.String() + " is not Ready for the same reason"
}
