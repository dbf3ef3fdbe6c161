package crossplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	extv1alpha1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1alpha1"
	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// providerName is the Provider in examples/install.
	providerName = "provider-kitops"

	// lease is what the provider's leader holds.
	lease = "crossplane-leader-election-provider-kitops"

	// artifactDefinition is the ManagedResourceDefinition of Artifacts.
	artifactDefinition = "artifacts.model.kitops.m.crossplane.io"

	// activation activates all that the provider manages.
	activation = `
apiVersion: apiextensions.crossplane.io/v1alpha1
kind: ManagedResourceActivationPolicy
metadata: {name: provider-kitops}
spec:
  activate: ["*.kitops.m.crossplane.io"]
`
)

// manifests are those of examples/install for Crossplane, with the package in
// the cluster's registry.
func manifests(t *testing.T, version string) string {
	t.Helper()
	out := []string{}
	for _, file := range []string{"rbac.yaml", "runtimeconfig.yaml", "provider.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "install", file))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	const published = "xpkg.crossplane.io/crossplane-contrib/provider-kitops:v0.0.0-dev"
	all := strings.Join(out, "\n---\n")
	if strings.Count(all, published) != 1 {
		t.Fatalf("examples/install does not name %s once", published)
	}
	return strings.Replace(all, published, packages[version], 1)
}

// apply applies examples/install with a version of the package, as the README
// says.
func apply(t *testing.T, version string) {
	t.Helper()
	kubectl(t, manifests(t, version), "apply", "--filename=-")
}

// installed makes sure that a version of the provider is installed, active and
// running.
func installed(t *testing.T, version string) {
	t.Helper()
	apply(t, version)
	kubectl(t, activation, "apply", "--filename=-")
	waitInstalled(t, version)
}

// waitInstalled waits until Crossplane says that a version of the provider is
// healthy, and until it is that version alone which works.
func waitInstalled(t *testing.T, version string) {
	t.Helper()
	p := waitHealthy(t)
	if p.GetSource() != packages[version] {
		t.Fatalf("Provider: asks for %s, not for version %s", p.GetSource(), version)
	}
	waitActive(t)
	eventually(t, "version "+version+" at work", func(ctx context.Context) string {
		pods, err := providerPods(ctx)
		if err != nil {
			return err.Error()
		}
		if len(pods) != 1 || pods[0].Labels[pkgv1.LabelRevision] != p.GetCurrentRevision() {
			return fmt.Sprintf("%d Pods, not one of %s", len(pods), p.GetCurrentRevision())
		}
		held := &coordinationv1.Lease{}
		if err := local.Client.Get(ctx, types.NamespacedName{Namespace: local.Cluster.CrossplaneNamespace(), Name: lease}, held); err != nil {
			return err.Error()
		}
		if holder := held.Spec.HolderIdentity; holder == nil || !strings.HasPrefix(*holder, pods[0].GetName()) {
			return fmt.Sprintf("it does not lead: %+v", held.Spec)
		}
		return ""
	})
}

// waitHealthy waits until Crossplane says that the provider is healthy.
func waitHealthy(t *testing.T) *pkgv1.Provider {
	t.Helper()
	p := &pkgv1.Provider{ObjectMeta: metav1.ObjectMeta{Name: providerName}}
	if err := local.WaitHealthy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// waitActive waits until Artifacts are active.
func waitActive(t *testing.T) {
	t.Helper()
	eventually(t, "Artifacts are active", func(ctx context.Context) string {
		mrd := &extv1alpha1.ManagedResourceDefinition{}
		if err := local.Client.Get(ctx, types.NamespacedName{Name: artifactDefinition}, mrd); err != nil {
			return err.Error()
		}
		if c := mrd.GetCondition(extv1alpha1.TypeEstablished); c.Status != corev1.ConditionTrue {
			return fmt.Sprintf("%s: %s %s", c.Type, c.Reason, c.Message)
		}
		return ""
	})
}

// providerPods are the Pods that Crossplane runs the provider in, whichever
// version.
func providerPods(ctx context.Context) ([]corev1.Pod, error) {
	pods := &corev1.PodList{}
	err := local.Client.List(ctx, pods, client.InNamespace(local.Cluster.CrossplaneNamespace()), client.MatchingLabels{pkgv1.LabelProvider: providerName})
	return pods.Items, err
}

// providerPod is the provider's one Pod.
func providerPod(t *testing.T) *corev1.Pod {
	t.Helper()
	pods, err := providerPods(t.Context())
	if err != nil || len(pods) != 1 {
		t.Fatalf("the provider has %d Pods, error %v", len(pods), err)
	}
	return &pods[0]
}

// providerLog is the log of the provider's one Pod.
func providerLog(t *testing.T) string {
	t.Helper()
	return kubectl(t, "", "logs", "--namespace="+local.Cluster.CrossplaneNamespace(), providerPod(t).GetName())
}
