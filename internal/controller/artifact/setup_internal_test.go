package artifact

import (
	"context"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	xpevent "github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpfake "github.com/crossplane/crossplane-runtime/v2/pkg/resource/fake"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// TestReconcileTimeout checks that a reconcile has the time that the registry's
// client gives to the push of a manifest of 800 layers (90 seconds, and a quarter of
// one for each layer), not the runtime's minute.
func TestReconcileTimeout(t *testing.T) {
	// The runtime's own writes have half a minute more than what is external.
	const least = 90*time.Second + 800*time.Second/4 + 30*time.Second
	scheme := runtime.NewScheme()
	if err := modelv1alpha1.SchemeBuilder.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var left time.Duration
	kube := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return context.Canceled
		},
	}).Build()
	o := Options{Options: controller.Options{Logger: logging.NewNopLogger()}}
	r := managed.NewReconciler(&xpfake.Manager{Client: kube, Scheme: scheme}, resource.ManagedKind(modelv1alpha1.ArtifactGroupVersionKind),
		o.forReconciler("artifacts", xpevent.NewNopRecorder(), &connector{memory: newMemory(connection.NewHosts(), 0, nil, nil)})...)
	_, _ = r.Reconcile(t.Context(), reconcile.Request{})
	if left < least {
		t.Errorf("Reconcile(...): want a deadline in %s at least, got one in %s", least, left)
	}
}
