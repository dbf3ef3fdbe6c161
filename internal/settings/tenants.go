package settings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Keys that any tenant may set on a run's Job and Pod. They select no code, no
// identity, no network and no security profile, and nothing selects Pods by them.
// The API documents the same list.
var (
	harmlessLabels = []v1alpha1.MetadataKey{
		"app.kubernetes.io/part-of",
		"cost-center",
		"department",
		"kueue.x-k8s.io/queue-name",
		"owner",
		"sidecar.istio.io/inject",
		"team",
	}
	harmlessAnnotations = []v1alpha1.MetadataKey{
		"cluster-autoscaler.kubernetes.io/safe-to-evict",
		"karpenter.sh/do-not-disrupt",
		"linkerd.io/inject",
		"sidecar.istio.io/inject",
	}
)

// A tenantPolicy is what tenants may set of a run, and who may allow more.
type tenantPolicy struct {
	allow               []v1alpha1.TenantField
	maxResources        corev1.ResourceList
	labels, annotations []v1alpha1.MetadataKey

	// of is the config that has the policy, for messages.
	of string

	// cure returns how a value gets allowed in a field of the policy.
	cure func(value, field string) string
}

// tenantPolicy returns the policy for the Artifacts of a config. A ProviderConfig
// is a tenant's own and cannot widen the defaults. Its registry's account is the
// tenant's, too, so the tenant may overwrite with it.
func (p *providerConfig) tenantPolicy() tenantPolicy {
	out := tenantPolicy{
		allow:       append(v1alpha1.DefaultTenantFields(), v1alpha1.TenantFieldConflictPolicy),
		labels:      harmlessLabels,
		annotations: harmlessAnnotations,
		of:          fmt.Sprintf("ProviderConfig %q", p.name),
		cure: func(value, field string) string {
			return fmt.Sprintf("use a ClusterProviderConfig whose administrator has added %s to its spec.policy.tenants.%s", value, field)
		},
	}
	if !p.cluster {
		return out
	}
	out.allow = v1alpha1.DefaultTenantFields()
	out.of = fmt.Sprintf("ClusterProviderConfig %q", p.name)
	out.cure = func(value, field string) string {
		return fmt.Sprintf("ask its administrator to add %s to its spec.policy.tenants.%s", value, field)
	}
	if p.Policy != nil && p.Policy.Tenants != nil {
		t := p.Policy.Tenants
		if t.Allow != nil {
			out.allow = t.Allow
		}
		out.maxResources = t.MaxResources
		out.labels = slices.Concat(out.labels, t.Labels)
		out.annotations = slices.Concat(out.annotations, t.Annotations)
	}
	return out
}

// admitSettings returns an error with reason NotAllowed if the Artifact, or a
// ProviderConfig, which is a tenant's as well, sets of runs what the policy does not
// allow. It never blocks a deletion.
func (p *providerConfig) admitSettings(a *modelv1alpha1.Artifact) error {
	if meta.WasDeleted(a) {
		return nil
	}
	policy := p.tenantPolicy()
	if artifact.MayOverwrite(a) && !policy.allows(v1alpha1.TenantFieldConflictPolicy) {
		return policy.refuseField("spec.forProvider.target", v1alpha1.TenantFieldConflictPolicy)
	}
	if err := p.admitPriority(a); err != nil {
		return err
	}
	if err := p.admitParallelism(a.Spec.ForProvider.Job, "spec.forProvider.job"); err != nil {
		return err
	}
	if err := policy.check(a.Spec.ForProvider.Job, "spec.forProvider.job"); err != nil {
		return err
	}
	if p.cluster {
		return p.checkKept(a)
	}
	if err := p.admitParallelism(&p.Job.JobSettings, "its spec.job"); err != nil {
		return err
	}
	return policy.check(&p.Job.JobSettings, "its spec.job")
}

// checkKept returns an error with reason NotAllowed if the Artifact's runs execute in the
// administrator's namespace, where the config's node selector, labels and annotations stay,
// and the Artifact has other values for them: these would have no effect. It returns one
// also if the Artifact names a queue of Kueue where the config names none: the run would
// wait in the administrator's namespace, perhaps for ever, with copies of credentials.
func (p *providerConfig) checkKept(a *modelv1alpha1.Artifact) error {
	own := a.Spec.ForProvider.Job
	if own == nil || p.runNamespace(a) == a.GetNamespace() {
		return nil
	}
	if queue, ok := own.Labels[artifact.LabelQueueName]; ok && queue != p.Job.Labels[artifact.LabelQueueName] {
		return outcome.Errorf(outcome.NotAllowed, "%s alone names the queue of runs in namespace %q: remove %q from spec.forProvider.job.labels", p, p.Job.Namespace, artifact.LabelQueueName)
	}
	for _, f := range []struct {
		name        string
		own, config map[string]string
	}{
		{"nodeSelector", own.NodeSelector, p.Job.NodeSelector},
		{"labels", own.Labels, p.Job.Labels},
		{"annotations", own.Annotations, p.Job.Annotations},
	} {
		for _, key := range slices.Sorted(maps.Keys(f.own)) {
			if kept, ok := f.config[key]; ok && kept != f.own[key] {
				return outcome.Errorf(outcome.NotAllowed, "%s sets %q in job.%s, which stays so for runs in namespace %q: remove it from spec.forProvider.job.%s", p, key, f.name, p.Job.Namespace, f.name)
			}
		}
	}
	return nil
}

// admitPriority returns an error with reason NotAllowed if the Artifact's priority is
// higher than the config allows. A tenant's own config allows none above the default.
func (p *providerConfig) admitPriority(a *modelv1alpha1.Artifact) error {
	asked, most := a.Spec.ForProvider.Priority, p.Job.MaxPriority
	if asked <= most {
		return nil
	}
	cure := "ask its administrator to raise its spec.job.maxPriority"
	if !p.cluster {
		cure = "use a ClusterProviderConfig whose administrator has raised its spec.job.maxPriority"
	}
	return outcome.Errorf(outcome.NotAllowed, "%s does not allow spec.forProvider.priority of %d, but %d at most: write less, or %s", p, asked, most, cure)
}

// admitParallelism returns an error with reason NotAllowed if job settings ask for more Pods
// of one run than the config allows: each has the resources of a run, and counts as one. A
// tenant's own config allows no more than the default.
func (p *providerConfig) admitParallelism(s *v1alpha1.JobSettings, where string) error {
	most := cmp.Or(p.Job.MaxParallelism, v1alpha1.DefaultMaxParallelism)
	if s == nil || s.Parallelism <= most {
		return nil
	}
	cure := "ask its administrator to raise its spec.job.maxParallelism"
	if !p.cluster {
		cure = "use a ClusterProviderConfig whose administrator has raised its spec.job.maxParallelism"
	}
	return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s.parallelism of %d, but %d at most: write less, or %s", p, where, s.Parallelism, most, cure)
}

// check returns an error with reason NotAllowed if job settings are more than the
// policy allows.
func (t tenantPolicy) check(s *v1alpha1.JobSettings, where string) error {
	if s == nil {
		return nil
	}
	for _, f := range []struct {
		field v1alpha1.TenantField
		set   bool
	}{
		{v1alpha1.TenantFieldResources, s.Resources != nil},
		{v1alpha1.TenantFieldNodeSelector, len(s.NodeSelector) > 0},
		{v1alpha1.TenantFieldTolerations, len(s.Tolerations) > 0},
		{v1alpha1.TenantFieldAffinity, s.Affinity != nil},
		{v1alpha1.TenantFieldPriorityClassName, s.PriorityClassName != ""},
	} {
		if f.set && !t.allows(f.field) {
			return t.refuseField(where, f.field)
		}
	}
	if err := t.checkResources(s.Resources, where+".resources"); err != nil {
		return err
	}
	if err := t.checkBufferSize(s.BufferSize, where+".bufferSize"); err != nil {
		return err
	}
	if err := t.checkKeys(s.Labels, t.labels, where, "labels"); err != nil {
		return err
	}
	return t.checkKeys(s.Annotations, t.annotations, where, "annotations")
}

// allows reports whether the policy allows a field to be set.
func (t tenantPolicy) allows(f v1alpha1.TenantField) bool { return slices.Contains(t.allow, f) }

// refuseField returns the error for a field that must not be set.
func (t tenantPolicy) refuseField(where string, f v1alpha1.TenantField) error {
	return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s.%s: remove it, or %s", t.of, where, f, t.cure(string(f), "allow"))
}

// unboundedResources are those that a tenant may ask for where no policy bounds
// them: a run uses no others, and a node has few of most, as of GPUs
// (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources).
var unboundedResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

// checkResources returns an error with reason NotAllowed if a container's resources
// exceed the policy's, or if a limit that the policy bounds is not set. A policy
// without bounds allows unboundedResources.
func (t tenantPolicy) checkResources(r *corev1.ResourceRequirements, where string) error {
	if r == nil {
		return nil
	}
	if len(t.maxResources) == 0 {
		for _, name := range slices.Concat(sortedNames(r.Requests), sortedNames(r.Limits)) {
			if !slices.Contains(unboundedResources, name) {
				return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s in %s, which no run needs: remove it, or %s", t.of, name, where, t.cure(string(name), "maxResources"))
			}
		}
		return nil
	}
	const cure = "or ask its administrator to change its spec.policy.tenants.maxResources"
	for _, l := range []struct {
		kind string
		list corev1.ResourceList
	}{{"requests", r.Requests}, {"limits", r.Limits}} {
		for _, name := range sortedNames(l.list) {
			bound, ok := t.maxResources[name]
			if got := l.list[name]; !ok || got.Cmp(bound) > 0 {
				return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s.%s of %s in %s, but %s at most: write less, %s", t.of, l.kind, name, got.String(), where, quantity(bound, ok), cure)
			}
		}
	}
	for _, name := range sortedNames(t.maxResources) {
		if _, ok := r.Limits[name]; !ok {
			bound := t.maxResources[name]
			return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s without limits.%s: write %s or less, %s", t.of, where, name, bound.String(), cure)
		}
	}
	return nil
}

// checkBufferSize returns an error with reason NotAllowed if buffers are larger than the
// memory that a tenant may ask for. A container need not have a limit that bounds them.
func (t tenantPolicy) checkBufferSize(size *resource.Quantity, where string) error {
	if size == nil || size.Value() <= memory.DefaultBudget {
		return nil
	}
	if !t.allows(v1alpha1.TenantFieldResources) {
		return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s of more than 256Mi, since it does not allow resources: write less, or %s", t.of, where, t.cure(string(v1alpha1.TenantFieldResources), "allow"))
	}
	if bound, ok := t.maxResources[corev1.ResourceMemory]; ok && size.Cmp(bound) > 0 {
		return outcome.Errorf(outcome.NotAllowed, "%s does not allow %s of %s, but %s of memory at most: write less, or ask its administrator to change its spec.policy.tenants.maxResources", t.of, where, size.String(), bound.String())
	}
	return nil
}

// quantity returns a bound for a message; 0 where the policy has none.
func quantity(q resource.Quantity, ok bool) string {
	if !ok {
		return "0"
	}
	return q.String()
}

// sortedNames returns the names of resources in order, for deterministic errors.
func sortedNames(l corev1.ResourceList) []corev1.ResourceName { return slices.Sorted(maps.Keys(l)) }

// checkKeys returns an error with reason NotAllowed if labels or annotations have a
// key that is not allowed.
func (t tenantPolicy) checkKeys(got map[string]string, allowed []v1alpha1.MetadataKey, where, field string) error {
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if !slices.ContainsFunc(allowed, func(k v1alpha1.MetadataKey) bool { return matchesKey(k, key) }) {
			return outcome.Errorf(outcome.NotAllowed, "%s does not allow %q in %s.%s: remove it, or %s", t.of, key, where, field, t.cure(fmt.Sprintf("%q", key), field))
		}
	}
	return nil
}

// matchesKey reports whether a key is the allowed one, or begins with it where that
// ends with an asterisk.
func matchesKey(allowed v1alpha1.MetadataKey, key string) bool {
	if prefix, ok := strings.CutSuffix(string(allowed), "*"); ok {
		return strings.HasPrefix(key, prefix)
	}
	return key == string(allowed)
}
