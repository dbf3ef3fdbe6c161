package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	controllers "github.com/crossplane-contrib/provider-kitops/internal/controller"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const (
	artifactsCRD = "artifacts.model.kitops.m.crossplane.io"

	configsStarted   = "Started the controllers of ProviderConfigs"
	artifactsStarted = "Started the controllers of Artifacts"
)

// TestSafeStart checks that a controller starts once its kinds exist, even if they
// are created later.
func TestSafeStart(t *testing.T) {
	p := newProvider(t)
	removeArtifacts(t, p)
	p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
	installed, _ := accesstest.Installed(t, "rbac.yaml")
	p.account.Grant(t, "installed", installed)
	p.start([]string{controllers.EnvProvider + "=provider-kitops"})

	p.waitLog(configsStarted)
	if strings.Contains(p.log.String(), artifactsStarted) || p.metric("crossplane_managed_resource_exists") != "" {
		t.Error("the controller of Artifacts should not run before its kind exists")
	}

	createArtifactCRD(t)
	p.waitLog(artifactsStarted)
	a := p.artifact("model")
	if image := p.workerOf(a); image != version.Image() {
		t.Errorf("outside of a cluster the worker is %q, want %q", image, version.Image())
	}
	p.eventually("metrics", func() string {
		const want = `crossplane_managed_resource_exists{gvk="model.kitops.m.crossplane.io/v1alpha1, Kind=Artifact"} 1`
		if got := p.metric("crossplane_managed_resource_exists"); got != want {
			return "the metric is " + got
		}
		return ""
	})
}

// TestStartWaitsForCrossplane checks that the provider waits for the permissions
// that Crossplane grants after it has started the Pod.
func TestStartWaitsForCrossplane(t *testing.T) {
	p := newProvider(t)
	p.start([]string{controllers.EnvProvider + "=provider-kitops"})
	p.waitLog("Waiting for Crossplane")
	p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
	p.waitLog(artifactsStarted)
	p.waitLog("The provider may not delete providerconfigusages")
	p.waitLog("bind it to ServiceAccount " + p.account.Namespace + "/provider-kitops")
	installed, _ := accesstest.Installed(t, "rbac.yaml")
	p.account.Grant(t, "installed", installed)
	p.waitLog("The provider has all permissions now")
	p.workerOf(p.artifact("model"))
}

// TestStartWithoutKinds checks that a provider that may not watch
// CustomResourceDefinitions assumes that its own exist.
func TestStartWithoutKinds(t *testing.T) {
	p := newProvider(t)
	everywhere, _ := accesstest.Installed(t, "without-crossplane.yaml")
	var rules []rbacv1.PolicyRule
	for _, r := range everywhere {
		if r.APIGroups[0] != apiextensionsv1.GroupName {
			rules = append(rules, r)
		}
	}
	p.account.Grant(t, "installed", rules)
	p.start(nil, "--worker-image=worker:test")
	p.waitLog("starts all controllers at once")
	if image := p.workerOf(p.artifact("model")); image != "worker:test" {
		t.Errorf("the worker is %q, and the flag says worker:test", image)
	}
}

// TestWorkerIsOwnImage checks that runs use the provider's own image, even if the
// permission to read its Pod is granted after the start.
func TestWorkerIsOwnImage(t *testing.T) {
	p := newProvider(t)
	p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.account.Namespace, Name: "provider-kitops-1"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "proxy", Image: "proxy:1"}, {Name: "package-runtime", Image: "registry.example.com/provider-kitops@sha256:0000000000000000000000000000000000000000000000000000000000000000"},
		}},
	}
	if err := p.kube.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	p.start([]string{"POD_NAMESPACE=" + pod.GetNamespace(), "POD_NAME=" + pod.GetName()})
	a := p.artifact("model")
	p.waitLog("get, list, watch pods")
	installed, _ := accesstest.Installed(t, "rbac.yaml")
	p.account.Grant(t, "installed", installed)
	if got := p.workerOf(a); got != pod.Spec.Containers[1].Image {
		t.Errorf("the worker is %q, want %q", got, pod.Spec.Containers[1].Image)
	}
}

// removeArtifacts deletes the kind Artifact, as before its activation. It removes
// the finalizers of other tests' Artifacts, whose providers have stopped.
func removeArtifacts(t *testing.T, p *provider) {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: artifactsCRD}}
	if err := crdClient(t).Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	p.eventually("kind gone", func() string {
		list := &modelv1alpha1.ArtifactList{}
		if err := p.kube.List(t.Context(), list); err == nil {
			for i := range list.Items {
				list.Items[i].SetFinalizers(nil)
				if err := p.kube.Update(t.Context(), &list.Items[i]); err != nil {
					return err.Error()
				}
			}
		}
		if err := crdClient(t).Get(t.Context(), client.ObjectKeyFromObject(crd), crd); !kerrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
}

// createArtifactCRD creates the kind Artifact.
func createArtifactCRD(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "package", "crds", "model.kitops.m.crossplane.io_artifacts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(data, crd); err != nil {
		t.Fatal(err)
	}
	if err := crdClient(t).Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
}

// crdClient returns a client for CustomResourceDefinitions.
func crdClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kube, err := client.New(apiserver.Config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return kube
}
