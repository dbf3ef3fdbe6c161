package crossplane

import (
	"context"
	"fmt"
	"testing"

	extv1alpha1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1alpha1"
	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// testSafeStart installs the provider where nothing is active, and activates
// its managed resource later.
func testSafeStart(t *testing.T) {
	apply(t, v1)
	p := waitHealthy(t)
	if c := p.GetCondition(pkgv1.TypeHealthy); c.Reason != pkgv1.ReasonAwaitingActivation {
		t.Errorf("Healthy: got %s %q, want %s", c.Reason, c.Message, pkgv1.ReasonAwaitingActivation)
	}
	mrd := &extv1alpha1.ManagedResourceDefinition{}
	if err := local.Client.Get(t.Context(), types.NamespacedName{Name: artifactDefinition}, mrd); err != nil {
		t.Fatal(err)
	}
	if mrd.Spec.State.IsActive() {
		t.Fatal("Artifacts are active before any policy says so: this test is to run first")
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := local.Client.Get(t.Context(), types.NamespacedName{Name: artifactDefinition}, crd); !kerrors.IsNotFound(err) {
		t.Errorf("there is a CRD of Artifacts before they are active: error %v", err)
	}
	if pods, err := providerPods(t.Context()); err != nil || len(pods) > 0 {
		t.Errorf("the provider runs before anything is active: %d Pods, error %v", len(pods), err)
	}

	kubectl(t, activation, "apply", "--filename=-")
	eventually(t, "the provider is started", func(ctx context.Context) string {
		pods, err := providerPods(ctx)
		if err != nil || len(pods) != 1 {
			return fmt.Sprintf("%d Pods, error %v", len(pods), err)
		}
		return ""
	})
	waitInstalled(t, v1)
	n := newTenant(t)
	n.create("activated")
	n.waitReady("activated", "True", "Available")
}
