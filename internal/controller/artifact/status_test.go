package artifact

import (
	"fmt"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestRefusedCreateIsInReadyAndStays(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("refused")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	foreign := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: artifact.PVCName(a.GetName()), Namespace: w.namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	w.create(foreign)
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.WorkspaceConflict))
	first := a.DeepCopy()

	// Each try writes the runtime's annotations anew.
	tries := map[string]bool{}
	w.eventually("three more tries", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		for _, c := range []xpv2.ConditionType{xpv2.TypeReady, xpv2.TypeSynced} {
			was, is := first.GetCondition(c), a.GetCondition(c)
			if !was.Equal(is) || !was.LastTransitionTime.Equal(&is.LastTransitionTime) {
				t.Fatalf("%s changed: %+v, then %+v", c, was, is)
			}
		}
		tries[a.GetAnnotations()["crossplane.io/external-create-failed"]] = true
		if len(tries) < 3 {
			return fmt.Sprintf("%d tries", len(tries))
		}
		return ""
	})

	if err := w.get(foreign); err != nil {
		t.Fatal(err)
	}
	// No controller takes the finalizer of claims in use away.
	foreign.SetFinalizers(nil)
	if err := w.client.Update(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.remove(foreign)
	w.job(a, 1)
}
