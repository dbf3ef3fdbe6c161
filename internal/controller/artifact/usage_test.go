package artifact

import (
	"fmt"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestConfigIsKeptWhileUsed deletes a config of either kind under an Artifact.
func TestConfigIsKeptWhileUsed(t *testing.T) {
	cases := map[string]func(w *world) (*modelv1alpha1.Artifact, client.Object){
		"ProviderConfig": func(w *world) (*modelv1alpha1.Artifact, client.Object) {
			return w.artifact("user"), &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.namespace}}
		},
		"ClusterProviderConfig": func(w *world) (*modelv1alpha1.Artifact, client.Object) {
			a := w.shared("user", func(*v1alpha1.ClusterProviderConfigSpec) {})
			return a, &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: a.Spec.ProviderConfigReference.Name}}
		},
	}
	for name, user := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllersAlone(t) // Others' controllers do not see what uses it.
			a, pc := user(w)
			w.create(a)
			w.succeed(a, 1, "one")
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.eventually("users counted", func() string {
				if err := w.get(pc); err != nil {
					return err.Error()
				}
				if users := usersOf(pc); users != 1 || len(pc.GetFinalizers()) == 0 {
					return fmt.Sprintf("%d users, finalizers %v", users, pc.GetFinalizers())
				}
				return ""
			})
			w.remove(pc)
			w.poke(a, "after")
			if err := w.get(pc); err != nil {
				t.Fatalf("The config went under the Artifact: %v", err)
			}
			if got := a.GetCondition(xpv2.TypeReady).Status; got != corev1.ConditionTrue {
				t.Errorf("The Artifact is well, and Ready=%s", got)
			}

			w.remove(a)
			w.waitGoneWithPods(a)
			if _, err := w.registry.Resolve(t.Context(), "models/user", "v1"); err == nil {
				t.Error("The artifact was left, though the config was still there")
			}
			w.deleteUsages()
			w.waitGone(pc)
		})
	}
}

func usersOf(pc client.Object) int64 {
	switch pc := pc.(type) {
	case *v1alpha1.ProviderConfig:
		return pc.Status.Users
	case *v1alpha1.ClusterProviderConfig:
		return pc.Status.Users
	}
	return 0
}

// deleteUsages plays the garbage collector for what deleted Artifacts own.
func (w *world) deleteUsages() {
	w.t.Helper()
	if err := w.client.DeleteAllOf(w.t.Context(), &v1alpha1.ProviderConfigUsage{}, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
}
