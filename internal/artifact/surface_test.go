package artifact

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// Other tools are written against these signatures: what does not compile here
// breaks them.
var (
	_ func(artifact *modelv1alpha1.Artifact, kitImage string, labels map[string]string) *batchv1.Job                                                                                                = BuildJob
	_ func(artifact *modelv1alpha1.Artifact, labels map[string]string) *corev1.PersistentVolumeClaim                                                                                                = BuildPVC
	_ func(ctx context.Context, c client.Client, ma *modelv1alpha1.Artifact, labels map[string]string) error                                                                                        = CleanupStaleJobs
	_ func(ctx context.Context, c client.Client, ma *modelv1alpha1.Artifact) error                                                                                                                  = DeletePVC
	_ func(ctx context.Context, c client.Client, scheme *runtime.Scheme, ma *modelv1alpha1.Artifact, kitImage string, selectorLabels, metadataLabels map[string]string) (*batchv1.Job, bool, error) = EnsureJob
	_ func(ctx context.Context, c client.Client, scheme *runtime.Scheme, ma *modelv1alpha1.Artifact, labels map[string]string) error                                                                = EnsurePVC
	_ func(ctx context.Context, c client.Client, namespace string, labels map[string]string, owner metav1.Object) (*batchv1.Job, error)                                                             = FindOwnedJob
	_ func(artifactName, version string) map[string]string                                                                                                                                          = LabelsForArtifact
	_ func(artifact *modelv1alpha1.Artifact) string                                                                                                                                                 = OCIReference
	_ func(artifactName string) string                                                                                                                                                              = PVCName
	_ func(artifactName string) map[string]string                                                                                                                                                   = SelectorLabelsForArtifact
	_ func(job *batchv1.Job, pods []corev1.Pod, fallbackPhase modelv1alpha1.ArtifactPhase, fallbackDigest string) ObservationResult                                                                 = ObserveJobStatus
	_ struct {
		Phase                   modelv1alpha1.ArtifactPhase
		Ready                   metav1.ConditionStatus
		Reason, Message, Digest string
	} = ObservationResult{}
)

// Untyped, a constant could be used as these are and still be another type.
var (
	_ int32                       = DefaultJobTTLSeconds
	_ modelv1alpha1.ArtifactPhase = modelv1alpha1.PhasePending
	_ modelv1alpha1.PackFormat    = modelv1alpha1.PackFormatModelPack
)

func TestConstants(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   any
		want   any
	}{
		"ConditionTypeReady":   {reason: "It should be Crossplane's own condition.", args: ConditionTypeReady, want: "Ready"},
		"ComponentArtifact":    {reason: "Other tools select by it.", args: ComponentArtifact, want: "model-artifact"},
		"WorkspaceVolumeName":  {reason: "Other tools look for it in the Pod.", args: WorkspaceVolumeName, want: "workspace"},
		"WorkspaceMountPath":   {reason: "Other tools look for it in the Pod.", args: WorkspaceMountPath, want: "/workspace"},
		"PVCSuffix":            {reason: "Other tools derive the claim's name from it.", args: PVCSuffix, want: "-workspace"},
		"DefaultJobTTLSeconds": {reason: "It should be an hour in seconds.", args: DefaultJobTTLSeconds, want: int32(3600)},
		"PhasePending":         {reason: "It should be the value in status.", args: string(modelv1alpha1.PhasePending), want: "Pending"},
		"PhaseRunning":         {reason: "It should be the value in status.", args: string(modelv1alpha1.PhaseRunning), want: "Running"},
		"PhaseSucceeded":       {reason: "It should be the value in status.", args: string(modelv1alpha1.PhaseSucceeded), want: "Succeeded"},
		"PhaseFailed":          {reason: "It should be the value in status.", args: string(modelv1alpha1.PhaseFailed), want: "Failed"},
		"PackFormatModelPack":  {reason: "It should be the value in the spec.", args: string(modelv1alpha1.PackFormatModelPack), want: "ModelPack"},
		"PackFormatModelKit":   {reason: "It should be the value in the spec.", args: string(modelv1alpha1.PackFormatModelKit), want: "ModelKit"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.args); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
