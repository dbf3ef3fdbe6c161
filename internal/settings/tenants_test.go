package settings

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// resources returns lists of quantities.
func resources(quantities map[corev1.ResourceName]string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range quantities {
		out[name] = resource.MustParse(q)
	}
	return out
}

func TestTenantsSettings(t *testing.T) {
	annotated := func(key string) *v1alpha1.JobSettings {
		return &v1alpha1.JobSettings{Annotations: map[string]string{key: "registry.example.com/evil:1", "sidecar.istio.io/inject": "false"}}
	}
	labelled := func(key string) *v1alpha1.JobSettings {
		return &v1alpha1.JobSettings{Labels: map[string]string{key: "true", "team": "a"}}
	}
	asks := func(requests, limits map[corev1.ResourceName]string) *v1alpha1.JobSettings {
		return &v1alpha1.JobSettings{Resources: &corev1.ResourceRequirements{Requests: resources(requests), Limits: resources(limits)}}
	}
	buffers := func(size string) *v1alpha1.JobSettings {
		return &v1alpha1.JobSettings{BufferSize: ptr.To(resource.MustParse(size))}
	}
	tolerations := &v1alpha1.JobSettings{Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}}
	affinity := &v1alpha1.JobSettings{Affinity: &corev1.Affinity{}}
	priority := &v1alpha1.JobSettings{PriorityClassName: "high"}
	selector := &v1alpha1.JobSettings{NodeSelector: map[string]string{"disk": "fast"}}
	pods := func(n int32) *v1alpha1.JobSettings { return &v1alpha1.JobSettings{Parallelism: n} }
	memory := map[corev1.ResourceName]string{"memory": "4Gi"}
	bounded := &v1alpha1.TenantPolicy{Allow: v1alpha1.DefaultTenantFields(), MaxResources: resources(map[corev1.ResourceName]string{"cpu": "2", "memory": "4Gi"})}
	within := map[corev1.ResourceName]string{"cpu": "2000m", "memory": "4Gi"}
	allow := func(f ...v1alpha1.TenantField) *v1alpha1.TenantPolicy {
		return &v1alpha1.TenantPolicy{Allow: append([]v1alpha1.TenantField{}, f...)}
	}
	type args struct {
		policy   *v1alpha1.TenantPolicy
		job      *v1alpha1.JobSettings
		conflict modelv1alpha1.ConflictPolicy

		// priority of the Artifact, and the most that the configs allow.
		priority, most int32

		// mostPods of a run that the configs allow; 0 for the default.
		mostPods int32
	}
	// Parts of the message; none if the policy allows it.
	type want struct{ cluster, namespaced []string }
	refused := func(names ...string) want { return want{cluster: names, namespaced: names} }
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Nothing":       {reason: "An Artifact that asks for nothing should be admitted."},
		"Resources":     {reason: "Resources should be allowed by default.", args: args{job: asks(memory, nil)}},
		"NodeSelector":  {reason: "A node selector should be allowed by default.", args: args{job: selector}},
		"Deadline":      {reason: "A bound of the tenant's own run should need no policy.", args: args{job: &v1alpha1.JobSettings{ActiveDeadlineSeconds: new(int64)}}},
		"Parallel":      {reason: "How many layers are transferred side by side should need no policy.", args: args{policy: allow(), job: &v1alpha1.JobSettings{ParallelLayers: new(int32)}}},
		"Buffers":       {reason: "Memory for buffers should be allowed as memory is.", args: args{job: buffers("8Gi")}},
		"FewBuffers":    {reason: "No more than the default should need no policy.", args: args{policy: allow(), job: buffers("256Mi")}},
		"NoBuffers":     {reason: "More than the default should be refused where memory may not be asked for.", args: args{policy: allow(), job: buffers("257Mi")}, want: want{cluster: []string{".bufferSize of more than 256Mi", "add resources to its spec.policy.tenants.allow"}}},
		"ManyBuffers":   {reason: "More than the memory that may be asked for should be refused: a container need not have a limit.", args: args{policy: bounded, job: buffers("5Gi")}, want: want{cluster: []string{".bufferSize of 5Gi", "4Gi of memory at most"}}},
		"Tolerations":   {reason: "Tolerations should be refused by default: they reach nodes that are kept for others.", args: args{job: tolerations}, want: refused(".tolerations", "spec.policy.tenants.allow", "administrator")},
		"Affinity":      {reason: "Affinity should be refused by default: it places a Pod beside others.", args: args{job: affinity}, want: refused(".affinity", "spec.policy.tenants.allow", "administrator")},
		"Priority":      {reason: "A priority class should be refused by default: it preempts others.", args: args{job: priority}, want: refused(".priorityClassName", "spec.policy.tenants.allow", "administrator")},
		"RunPriority":   {reason: "A priority of runs that no administrator allows should be refused.", args: args{priority: 1}, want: refused("spec.forProvider.priority of 1, but 0 at most", "spec.job.maxPriority", "administrator")},
		"MayRunFirst":   {reason: "A priority up to the ClusterProviderConfig's should be allowed; a ProviderConfig should allow none.", args: args{priority: 10, most: 10}, want: want{namespaced: []string{"spec.forProvider.priority"}}},
		"ManyPods":      {reason: "More Pods of a run than no administrator has bounded should be refused.", args: args{job: pods(9)}, want: refused("parallelism of 9, but 8 at most", "spec.job.maxParallelism", "administrator")},
		"SomePods":      {reason: "A few Pods of a run should be allowed to anybody.", args: args{job: pods(8)}},
		"MorePods":      {reason: "A ClusterProviderConfig should be able to allow more Pods of a run; a ProviderConfig should not.", args: args{job: pods(16), mostPods: 16}, want: want{namespaced: []string{"parallelism of 16, but 8 at most"}}},
		"CanWait":       {reason: "Anybody should be able to let others go first.", args: args{priority: -5}},
		"Overwrite":     {reason: "What others pushed by the administrator's account should not be overwritten; a tenant's own account is the tenant's.", args: args{conflict: modelv1alpha1.ConflictOverwrite}, want: want{cluster: []string{"spec.forProvider.target.conflictPolicy", "spec.policy.tenants.allow"}}},
		"MayTolerate":   {reason: "A ClusterProviderConfig should be able to allow tolerations.", args: args{policy: allow("tolerations"), job: tolerations}, want: want{namespaced: []string{".tolerations"}}},
		"MayAffinity":   {reason: "A ClusterProviderConfig should be able to allow affinity.", args: args{policy: allow("affinity"), job: affinity}, want: want{namespaced: []string{".affinity"}}},
		"MayPrioritise": {reason: "A ClusterProviderConfig should be able to allow a priority class.", args: args{policy: allow("priorityClassName"), job: priority}, want: want{namespaced: []string{".priorityClassName"}}},
		"MayOverwrite":  {reason: "A ClusterProviderConfig should be able to allow overwriting.", args: args{policy: allow("conflictPolicy"), conflict: modelv1alpha1.ConflictOverwrite}},
		"NoSelector":    {reason: "A ClusterProviderConfig should be able to allow less than the default.", args: args{policy: allow("resources"), job: selector}, want: want{cluster: []string{".nodeSelector"}}},
		"NoResources":   {reason: "A ClusterProviderConfig should be able to allow nothing.", args: args{policy: allow(), job: asks(memory, nil)}, want: want{cluster: []string{".resources"}}},
		"Unset":         {reason: "A policy that sets no fields should leave the defaults.", args: args{policy: &v1alpha1.TenantPolicy{}, job: selector}},
		"Within":        {reason: "Resources up to the bound should be allowed.", args: args{policy: bounded, job: asks(within, within)}},
		"GPU": {
			reason: "A resource that no run needs should be refused where no policy bounds it.",
			args:   args{job: asks(nil, map[corev1.ResourceName]string{"memory": "4Gi", "nvidia.com/gpu": "1"})},
			want: want{
				cluster:    []string{"nvidia.com/gpu in spec.forProvider.job.resources", "ask its administrator to add nvidia.com/gpu to its spec.policy.tenants.maxResources"},
				namespaced: []string{"nvidia.com/gpu in ", "use a ClusterProviderConfig"},
			},
		},
		"HugePages": {
			reason: "Huge pages should be refused, as scarce as other resources that no run needs.",
			args:   args{job: asks(map[corev1.ResourceName]string{"hugepages-2Mi": "1Gi"}, nil)},
			want:   want{cluster: []string{"hugepages-2Mi"}, namespaced: []string{"hugepages-2Mi"}},
		},
		"GPUAllowed": {
			reason: "A policy that names a resource should allow it up to its bound.",
			args: args{
				policy: &v1alpha1.TenantPolicy{Allow: v1alpha1.DefaultTenantFields(), MaxResources: resources(map[corev1.ResourceName]string{"nvidia.com/gpu": "1"})},
				job:    asks(nil, map[corev1.ResourceName]string{"nvidia.com/gpu": "1"}),
			},
			want: want{namespaced: []string{"nvidia.com/gpu"}},
		},
		"Ephemeral":     {reason: "Ephemeral storage should be allowed, since a run may need it.", args: args{job: asks(map[corev1.ResourceName]string{"ephemeral-storage": "1Gi"}, nil)}},
		"Request":       {reason: "A request over the bound should be refused.", args: args{policy: bounded, job: asks(map[corev1.ResourceName]string{"memory": "5Gi"}, within)}, want: want{cluster: []string{"requests.memory of 5Gi", "4Gi at most", "maxResources"}}},
		"Limit":         {reason: "A limit over the bound should be refused.", args: args{policy: bounded, job: asks(nil, map[corev1.ResourceName]string{"cpu": "3", "memory": "1Gi"})}, want: want{cluster: []string{"limits.cpu of 3", "2 at most"}}},
		"NoLimit":       {reason: "A missing limit should be refused, since nothing would bound the run.", args: args{policy: bounded, job: asks(memory, nil)}, want: want{cluster: []string{"without limits.cpu", "maxResources"}}},
		"OtherResource": {reason: "What the bound does not name should not be asked for.", args: args{policy: bounded, job: asks(map[corev1.ResourceName]string{"nvidia.com/gpu": "1"}, within)}, want: want{cluster: []string{"requests.nvidia.com/gpu of 1", "0 at most"}, namespaced: []string{"nvidia.com/gpu"}}},

		"Team":          {reason: "Labels by which costs are known should be allowed.", args: args{job: labelled("cost-center")}},
		"Queue":         {reason: "The label of a Kueue queue should be allowed: queues are the namespace's own.", args: args{job: labelled("kueue.x-k8s.io/queue-name")}},
		"Identity":      {reason: "A label that gives the Pod an identity in a cloud should be refused.", args: args{job: labelled("azure.workload.identity/use")}, want: refused(`"azure.workload.identity/use"`, ".labels", "spec.policy.tenants.labels")},
		"App":           {reason: "A label that Services select by should be refused.", args: args{job: labelled("app")}, want: refused(`"app"`, ".labels")},
		"MayLabel":      {reason: "A ClusterProviderConfig should be able to allow a label.", args: args{policy: &v1alpha1.TenantPolicy{Labels: []v1alpha1.MetadataKey{"app"}}, job: labelled("app")}, want: want{namespaced: []string{`"app"`}}},
		"Autoscaler":    {reason: "An annotation that makes an autoscaler wait should be allowed.", args: args{job: annotated("cluster-autoscaler.kubernetes.io/safe-to-evict")}},
		"Switch":        {reason: "An annotation that disables an injector should be allowed.", args: args{job: annotated("linkerd.io/inject")}},
		"AppArmor":      {reason: "An annotation that removes a security profile should be refused.", args: args{job: annotated("container.apparmor.security.beta.kubernetes.io/worker")}, want: refused("apparmor", ".annotations", "spec.policy.tenants.annotations")},
		"Seccomp":       {reason: "An annotation that removes a security profile should be refused.", args: args{job: annotated("seccomp.security.alpha.kubernetes.io/pod")}, want: refused("seccomp")},
		"Multus":        {reason: "An annotation that connects the Pod to other networks should be refused.", args: args{job: annotated("k8s.v1.cni.cncf.io/networks")}, want: refused("k8s.v1.cni.cncf.io/networks")},
		"Vault":         {reason: "An annotation that writes a role's secrets into the Pod should be refused.", args: args{job: annotated("vault.security.banzaicloud.io/vault-role")}, want: refused("vault-role")},
		"VaultAgent":    {reason: "An annotation with a command should be refused.", args: args{job: annotated("vault.hashicorp.com/agent-inject-command-x")}, want: refused("agent-inject-command-x")},
		"Kuma":          {reason: "An annotation that changes a sidecar should be refused.", args: args{job: annotated("kuma.io/sidecar-env-vars")}, want: refused("kuma.io/sidecar-env-vars")},
		"IstioImage":    {reason: "An annotation with a sidecar's image should be refused.", args: args{job: annotated("sidecar.istio.io/proxyImage")}, want: refused("proxyImage")},
		"Templates":     {reason: "An annotation with a template of a sidecar should be refused.", args: args{job: annotated("inject.istio.io/templates")}, want: refused("templates")},
		"LinkerdImage":  {reason: "An annotation with a sidecar's image should be refused.", args: args{job: annotated("config.linkerd.io/proxy-image")}, want: refused("proxy-image")},
		"OpenTelemetry": {reason: "An annotation that injects instrumentation should be refused.", args: args{job: annotated("instrumentation.opentelemetry.io/inject-java")}, want: refused("inject-java")},
		"Dapr":          {reason: "An annotation with a sidecar's image should be refused.", args: args{job: annotated("dapr.io/sidecar-image")}, want: refused("sidecar-image")},
		"Bandwidth":     {reason: "An annotation that shapes the Pod's traffic should be refused.", args: args{job: annotated("kubernetes.io/egress-bandwidth")}, want: refused("egress-bandwidth")},
		"Unknown":       {reason: "What nobody has allowed should be refused.", args: args{job: annotated("example.com/team")}, want: refused("example.com/team")},
		"Forged":        {reason: "The provider's own annotations should be refused.", args: args{job: annotated("model.kitops.m.crossplane.io/owner")}, want: refused("model.kitops.m.crossplane.io/owner")},
		"LongerKey":     {reason: "A key that starts with an allowed one should be another key.", args: args{job: annotated("linkerd.io/inject-x")}, want: refused("linkerd.io/inject-x")},
		"MayAnnotate":   {reason: "A ClusterProviderConfig should be able to allow all keys of a prefix.", args: args{policy: &v1alpha1.TenantPolicy{Annotations: []v1alpha1.MetadataKey{"example.com/*"}}, job: annotated("example.com/team")}, want: want{namespaced: []string{"example.com/team"}}},
		"OtherPrefix":   {reason: "A prefix should match at the start only.", args: args{policy: &v1alpha1.TenantPolicy{Annotations: []v1alpha1.MetadataKey{"example.com/*"}}, job: annotated("evil.example.com/team")}, want: refused("evil.example.com/team")},
		"MayAll":        {reason: "A ClusterProviderConfig should be able to allow all keys.", args: args{policy: &v1alpha1.TenantPolicy{Annotations: []v1alpha1.MetadataKey{"*"}}, job: annotated("kuma.io/sidecar-env-vars")}, want: want{namespaced: []string{"kuma.io"}}},
	}
	check := func(t *testing.T, reason, by string, err error, names []string) {
		t.Helper()
		if (err == nil) != (len(names) == 0) {
			t.Errorf("\n%s\n%s: got %v", reason, by, err)
		}
		for _, n := range names {
			if err != nil && (outcome.ReasonOf(err) != outcome.NotAllowed || !strings.Contains(err.Error(), n)) {
				t.Errorf("\n%s\n%s: want NotAllowed with %q, got %v", reason, by, n, err)
			}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			a.Spec.ForProvider.Job, a.Spec.ForProvider.Priority = tc.args.job, tc.args.priority
			a.Spec.ForProvider.Target.ConflictPolicy = tc.args.conflict
			cluster := &v1alpha1.ClusterProviderConfig{}
			cluster.Spec.Policy, cluster.Spec.Job = &v1alpha1.ClusterPolicy{Tenants: tc.args.policy}, &v1alpha1.ClusterJobConfig{}
			cluster.Spec.Job.MaxPriority, cluster.Spec.Job.MaxParallelism = tc.args.most, tc.args.mostPods
			namespaced := &v1alpha1.ProviderConfig{}
			namespaced.Spec.Job = &v1alpha1.JobConfig{MaxPriority: tc.args.most, MaxParallelism: tc.args.mostPods} // Written before the API refused it.
			check(t, tc.reason, "ClusterProviderConfig", fromClusterProviderConfig(cluster).admitSettings(a), tc.want.cluster)
			check(t, tc.reason, "ProviderConfig", fromProviderConfig(namespaced).admitSettings(a), tc.want.namespaced)
			if tc.args.job == nil {
				return
			}

			// A ProviderConfig is a tenant's, a ClusterProviderConfig the administrator's.
			plain := credentialsArtifact(false)
			namespaced.Spec.Job = &v1alpha1.JobConfig{JobSettings: *tc.args.job}
			cluster.Spec.Job.JobSettings = *tc.args.job
			check(t, tc.reason, "ProviderConfig's own", fromProviderConfig(namespaced).admitSettings(plain), tc.want.namespaced)
			check(t, tc.reason, "ClusterProviderConfig's own", fromClusterProviderConfig(cluster).admitSettings(plain), nil)

			// The policy must not block a deletion.
			now := metav1.Now()
			a.SetDeletionTimestamp(&now)
			check(t, tc.reason, "deletion", fromProviderConfig(namespaced).admitSettings(a), nil)
		})
	}
}

// TestTenantsKeepWhatIsKept checks that an Artifact does not set what stays as a config
// with job.namespace has it.
func TestTenantsKeepWhatIsKept(t *testing.T) {
	config := v1alpha1.JobSettings{NodeSelector: map[string]string{"disk": "slow"}, Labels: map[string]string{"team": "platform"}, Annotations: map[string]string{"linkerd.io/inject": "enabled"}}
	cases := map[string]struct {
		reason    string
		namespace string
		job       v1alpha1.JobSettings
		says      string
	}{
		"NodeSelector": {reason: "Another node should be refused, since the run would be on the config's.", namespace: "kitops-runs", job: v1alpha1.JobSettings{NodeSelector: map[string]string{"disk": "fast"}}, says: "remove it from spec.forProvider.job.nodeSelector"},
		"Label":        {reason: "Another label should be refused, since the config's would stay.", namespace: "kitops-runs", job: v1alpha1.JobSettings{Labels: map[string]string{"owner": "a", "team": "a"}}, says: "remove it from spec.forProvider.job.labels"},
		"Annotation":   {reason: "Another annotation should be refused, since the config's would stay.", namespace: "kitops-runs", job: v1alpha1.JobSettings{Annotations: map[string]string{"linkerd.io/inject": "disabled"}}, says: "remove it from spec.forProvider.job.annotations"},
		"Queue":        {reason: "A queue should be refused where the config names none, since the run would wait in the administrator's namespace.", namespace: "kitops-runs", job: v1alpha1.JobSettings{Labels: map[string]string{artifact.LabelQueueName: "mine"}}, says: `remove "kueue.x-k8s.io/queue-name" from spec.forProvider.job.labels`},
		"OwnQueue":     {reason: "In the Artifact's namespace it may name a queue.", job: v1alpha1.JobSettings{Labels: map[string]string{artifact.LabelQueueName: "mine"}}},
		"Same":         {reason: "The same value should be allowed.", namespace: "kitops-runs", job: v1alpha1.JobSettings{Labels: map[string]string{"team": "platform"}}},
		"Another":      {reason: "A key that the config does not set should be allowed.", namespace: "kitops-runs", job: v1alpha1.JobSettings{Labels: map[string]string{"owner": "a"}, NodeSelector: map[string]string{"zone": "a"}}},
		"Own":          {reason: "In the Artifact's namespace the config's are defaults.", job: v1alpha1.JobSettings{Labels: map[string]string{"team": "a"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			a.Spec.ForProvider.Job = &tc.job
			cluster := &v1alpha1.ClusterProviderConfig{}
			cluster.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{JobSettings: config, Namespace: tc.namespace}}
			err := fromClusterProviderConfig(cluster).admitSettings(a)
			if (err != nil) != (tc.says != "") || err != nil && (outcome.ReasonOf(err) != outcome.NotAllowed || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("\n%s\nwant NotAllowed with %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestHarmlessKeysAreDocumented checks that the API and its reference list the keys.
func TestHarmlessKeysAreDocumented(t *testing.T) {
	for _, file := range []string{
		"../../docs/guides/tenants.md",
		"../../package/crds/kitops.m.crossplane.io_clusterproviderconfigs.yaml",
		"../../package/crds/model.kitops.m.crossplane.io_artifacts.yaml",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range slices.Concat(harmlessLabels, harmlessAnnotations) {
			if !strings.Contains(string(text), string(key)) {
				t.Errorf("%s does not name %q", file, key)
			}
		}
	}
}
