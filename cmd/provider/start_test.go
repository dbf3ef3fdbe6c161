package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const (
	artifactsCRD = "artifacts.model.kitops.m.crossplane.io"

	configsStarted   = "Started the controllers of ProviderConfigs"
	artifactsStarted = "Started the controllers of Artifacts"
)

// TestSafeStart: a controller starts with its kinds, also those that come later.
func TestSafeStart(t *testing.T) {
	p := newProvider(t)
	removeArtifacts(t, p)
	p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
	installed, _ := accesstest.Installed(t, "rbac.yaml")
	p.account.Grant(t, "installed", installed)
	p.start([]string{envProvider + "=provider-kitops"})

	p.waitLog(configsStarted)
	if strings.Contains(p.log.String(), artifactsStarted) || p.metric("crossplane_managed_resource_exists") != "" {
		t.Error("the controller of Artifacts runs, and there are none")
	}

	bringArtifacts(t)
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

// TestStartWaitsForCrossplane: what Crossplane grants comes after the Pod.
func TestStartWaitsForCrossplane(t *testing.T) {
	p := newProvider(t)
	p.start([]string{envProvider + "=provider-kitops"})
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

// TestStartWithoutKinds: a provider that may not watch which kinds there are
// takes them to be there.
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

// removeArtifacts removes the kind, as it is before it is activated. The
// Artifacts of other tests have no provider any more that lets them go.
func removeArtifacts(t *testing.T, p *provider) {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: artifactsCRD}}
	if err := kinds(t).Delete(t.Context(), crd); err != nil {
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
		if err := kinds(t).Get(t.Context(), client.ObjectKeyFromObject(crd), crd); !kerrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
}

// bringArtifacts creates the kind.
func bringArtifacts(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "package", "crds", "model.kitops.m.crossplane.io_artifacts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(data, crd); err != nil {
		t.Fatal(err)
	}
	if err := kinds(t).Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
}

// kinds returns a client for CustomResourceDefinitions.
func kinds(t *testing.T) client.Client {
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
