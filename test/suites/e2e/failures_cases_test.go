package e2e

import (
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// closedPort is one of the node's ports without a listener.
const closedPort = ":9"

// withConfig gives the Artifact a ClusterProviderConfig of its own.
func (n *tenant) withConfig(a *modelv1alpha1.Artifact, change func(*v1alpha1.ClusterProviderConfigSpec)) {
	n.t.Helper()
	config := local.Config.DeepCopy()
	change(config)
	name := n.namespace + "-" + a.GetName()
	n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *config})
	a.Spec.ProviderConfigReference.Name = name
}

// withPolicy gives the Artifact a ClusterProviderConfig with a policy.
func (n *tenant) withPolicy(a *modelv1alpha1.Artifact, p v1alpha1.ContentPolicy) {
	n.t.Helper()
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		policy := ptr.Deref(c.Policy, v1alpha1.ClusterPolicy{})
		policy.ContentPolicy = p
		c.Policy = &policy
	})
}

// withJob gives the Artifact job settings of its own.
func withJob(a *modelv1alpha1.Artifact, s v1alpha1.JobSettings) { a.Spec.ForProvider.Job = &s }

// withGatedModel makes the Artifact one of a model that only a token opens.
func (n *tenant) withGatedModel(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	model := "gated/" + n.namespace
	if err := models.Write(local.Cluster.HubDir(), model, "main", n.files); err != nil {
		n.t.Fatal(err)
	}
	settings := filepath.Join(local.Cluster.HubDir(), "models", model, "hub.json")
	if err := os.WriteFile(settings, []byte(`{"gated": "manual", "tokens": ["hf_let_in"]}`), 0o644); err != nil {
		n.t.Fatal(err)
	}
	a.Spec.ForProvider.Source.HuggingFace.Model = model
}

// withToken gives the Artifact a token for the Hub.
func (n *tenant) withToken(a *modelv1alpha1.Artifact, token string) {
	n.t.Helper()
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Namespace: n.namespace},
		StringData: map[string]string{"token": token},
	})
	a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = tokenRef("token")
}

func tokenRef(name string) *modelv1alpha1.SecretKeySelector {
	return &modelv1alpha1.SecretKeySelector{Name: name, Key: "token"}
}

// withQuota bounds how many objects of a kind the tenant may have.
func (n *tenant) withQuota(of corev1.ResourceName) {
	n.t.Helper()
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: n.namespace},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{of: resource.MustParse("0")}},
	}
	n.create(q)
	n.eventually("quota", func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(q), q); err != nil {
			return err.Error()
		}
		if len(q.Status.Hard) == 0 {
			return "it does not hold yet"
		}
		return ""
	})
}

func clusterFailures() map[string]failureCase {
	return map[string]failureCase{
		"unknown-storage-class": {
			reason: "A StorageClass that does not exist is named.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
				a.Spec.ForProvider.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("nowhere")}
			},
			want: outcome.WorkspaceUnbound,
			says: []string{`StorageClass "nowhere"`, "does not exist", "storageClassName"},
		},
		"unknown-image": {
			reason: "An image that cannot be pulled is named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) { c.Job.KitImage = "registry.invalid/kit:none" })
			},
			want: outcome.ImagePull,
			says: []string{"registry.invalid/kit:none", "imagePullSecrets"},
		},
		"image-without-worker": {
			reason: "An image without what runs in it is named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) { c.Job.WorkerImage = c.Job.KitImage })
			},
			want: outcome.ImageUnusable,
			says: []string{"job.workerImage"},
		},
		"image-without-kit": {
			reason: "An image without kit is named by the worker.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) { c.Job.KitImage = "provider-kitops:dev" })
			},
			want: outcome.TooOld,
			says: []string{"job.kitImage"},
		},
		"no-such-node": {
			reason: "A Pod that no node takes says why.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) { withJob(a, v1alpha1.JobSettings{NodeSelector: nowhere(n)}) },
			want:   outcome.Unschedulable,
			says:   []string{"node affinity/selector", "nodeSelector"},
		},
		"too-much-memory": {
			reason: "A Pod that asks for too much says so.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				withJob(a, v1alpha1.JobSettings{Resources: &corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Pi")},
				}})
			},
			want: outcome.Unschedulable,
			says: []string{"Insufficient memory", "resources"},
		},
		"deadline": {
			reason: "A run that takes too long says which field it was.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				withJob(a, v1alpha1.JobSettings{NodeSelector: nowhere(n), ActiveDeadlineSeconds: ptr.To[int64](3)})
			},
			want: outcome.DeadlineExceeded,
			says: []string{"activeDeadlineSeconds"},
		},
		"quota-for-pods": {
			reason: "A quota that admits no Pod is named.",
			change: func(n *tenant, _ *modelv1alpha1.Artifact) { n.withQuota(corev1.ResourcePods) },
			want:   outcome.QuotaExceeded,
			says:   []string{`ResourceQuota "none"`, "raise the quota"},
		},
		"quota-for-jobs": {
			reason: "A quota that admits no Job is named, though nothing can be made.",
			change: func(n *tenant, _ *modelv1alpha1.Artifact) { n.withQuota("count/jobs.batch") },
			want:   outcome.QuotaExceeded,
			says:   []string{`ResourceQuota "none"`, "raise the quota"},
		},
		"unknown-priority-class": {
			reason: "A Pod that the cluster refuses says why.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(s *v1alpha1.ClusterProviderConfigSpec) {
					s.Policy = &v1alpha1.ClusterPolicy{Tenants: &v1alpha1.TenantPolicy{Allow: []v1alpha1.TenantField{v1alpha1.TenantFieldPriorityClassName}}}
				})
				withJob(a, v1alpha1.JobSettings{PriorityClassName: "nowhere"})
			},
			want: outcome.Refused,
			says: []string{"no PriorityClass with name nowhere was found", "spec.forProvider.job"},
		},
		"priority-class": {
			reason: "A tenant chooses no priority class unless the administrator allows it.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				withJob(a, v1alpha1.JobSettings{PriorityClassName: "system-cluster-critical"})
			},
			want: outcome.NotAllowed,
			says: []string{"spec.forProvider.job.priorityClassName", "spec.policy.tenants.allow"},
		},
		"denied-model": {
			reason: "A model that a policy denies is named, before a run begins.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withPolicy(a, v1alpha1.ContentPolicy{Models: &v1alpha1.ModelRules{Deny: []v1alpha1.ModelPattern{"*"}}})
			},
			want: outcome.PolicyViolation,
			says: []string{"spec.policy.models.deny", "spec.forProvider.source"},
		},
		"denied-format": {
			reason: "A file whose format a policy does not allow is named by the run.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withPolicy(a, v1alpha1.ContentPolicy{Files: &v1alpha1.FileRules{Deny: []v1alpha1.FileFormat{"onnx"}}})
			},
			want: outcome.PolicyViolation,
			says: []string{"onnx/model.onnx (onnx)", "spec.policy.files.deny", "source.files"},
		},
		"denied-license": {
			reason: "A licence that a policy denies is named by the run.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withPolicy(a, v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Deny: []v1alpha1.LicenseName{"MIT"}}})
			},
			want: outcome.PolicyViolation,
			says: []string{"MIT", "spec.policy.licenses.deny"},
		},
		"foreign-workspace": {
			reason: "A claim of the workspace's name that is somebody else's is left alone, and named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
				n.create(&corev1.PersistentVolumeClaim{
					ObjectMeta: metav1.ObjectMeta{Name: artifact.PVCName(a.GetName()), Namespace: n.namespace},
					Spec: corev1.PersistentVolumeClaimSpec{
						AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
						Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
					},
				})
			},
			want: outcome.WorkspaceConflict,
			says: []string{"PersistentVolumeClaim", "is not this Artifact's"},
		},
		"missing-secret": {
			reason: "A Secret that is missing is found before a Job is made.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = tokenRef("nowhere")
			},
			want: outcome.ConfigMissing,
			says: []string{`Secret "nowhere"`, "create it"},
		},
		"missing-config": {
			reason: "So is a ProviderConfig.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = "nowhere" },
			want:   outcome.ConfigMissing,
			says:   []string{`ClusterProviderConfig "nowhere"`, "create it"},
		},
	}
}

func serverFailures() map[string]failureCase {
	return map[string]failureCase{
		"unknown-model": {
			reason: "A model that the Hub does not have is named.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source.HuggingFace.Model = "nobody/nothing"
			},
			want: outcome.NotFound,
			says: []string{"nobody/nothing"},
		},
		"gated-without-token": {
			reason: "A gated model wants a token.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) { n.withGatedModel(a) },
			want:   outcome.Gated,
			says:   []string{"token"},
		},
		"wrong-token": {
			reason: "A token that the model's owner has not let in is told.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withGatedModel(a)
				n.withToken(a, "hf_of_somebody_else")
			},
			want: outcome.Gated,
			says: []string{"access"},
		},
		"no-token-at-all": {
			reason: "What is no token is told.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) { n.withToken(a, "secret") },
			want:   outcome.Unauthorized,
			says:   []string{"token"},
		},
		"hub-down": {
			reason: "A Hub that cannot be reached is named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
					c.HuggingFace.Endpoint = v1alpha1.HubEndpoint("http://" + local.Cluster.HubIP() + closedPort)
				})
			},
			want: outcome.Unavailable,
			says: []string{local.Cluster.HubIP() + closedPort},
		},
		"registry-down": {
			reason: "A registry that cannot be reached is named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
					c.Registry.Host = v1alpha1.RegistryHost(local.Cluster.HubIP() + closedPort)
				})
			},
			want: outcome.Unavailable,
			says: []string{local.Cluster.HubIP() + closedPort},
		},
		"hub-private-ca": {
			reason: "A Hub whose authority is not given is not trusted.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) { c.HuggingFace.CertSecretRef = nil })
			},
			want: outcome.Untrusted,
			says: []string{"certSecretRef"},
		},
		"registry-private-ca": {
			reason: "So is a registry.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
					c.Registry.Host, c.Registry.PlainHTTP = v1alpha1.RegistryHost(local.Cluster.HubHost()+":443"), false
				})
			},
			want: outcome.Untrusted,
			says: []string{"certSecretRef"},
		},
	}
}
