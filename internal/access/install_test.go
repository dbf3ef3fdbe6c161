package access

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	"github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// TestInstallFitsTogether: the files of examples/install name each other's
// objects, and the image that is published.
func TestInstallFitsTogether(t *testing.T) {
	provider, config, binding := &pkgv1.Provider{}, &v1beta1.DeploymentRuntimeConfig{}, &rbacv1.ClusterRoleBinding{}
	read(t, "provider.yaml", provider)
	read(t, "runtimeconfig.yaml", config)
	lent := &rbacv1.RoleBinding{}
	read(t, "rbac.yaml", &rbacv1.ClusterRole{}, binding, &rbacv1.Role{}, lent)

	if image, _, _ := strings.Cut(version.Image(), ":"); !strings.HasPrefix(provider.Spec.Package, image+":") {
		t.Errorf("the package is %s, and the published image %s", provider.Spec.Package, image)
	}
	if got := provider.Spec.RuntimeConfigReference; got == nil || got.Name != config.GetName() {
		t.Errorf("the Provider names the runtime config %v, and there is %q", got, config.GetName())
	}
	if got := ptr.Deref(config.Spec.ServiceAccountTemplate.Metadata.Name, ""); got != binding.Subjects[0].Name {
		t.Errorf("the provider runs as %q, and the role is bound to %q", got, binding.Subjects[0].Name)
	}
	if diff := cmp.Diff(binding.Subjects, lent.Subjects); diff != "" {
		t.Errorf("the roles are bound to different accounts: %s", diff)
	}
	if role != "examples/install/rbac.yaml" {
		t.Errorf("messages name %s", role)
	}
}

// TestInstalledPodIsAdmitted checks the provider's own Pods by the code that a
// cluster admits Pods by, and that they are looked after.
func TestInstalledPodIsAdmitted(t *testing.T) {
	config := &v1beta1.DeploymentRuntimeConfig{}
	read(t, "runtimeconfig.yaml", config)
	deployment := &appsv1.Deployment{}
	read(t, "without-crossplane.yaml", &corev1.Namespace{}, &corev1.ServiceAccount{}, &rbacv1.ClusterRole{},
		&rbacv1.ClusterRoleBinding{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, deployment)

	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, template := range map[string]corev1.PodTemplateSpec{
		"runtimeconfig.yaml":      config.Spec.DeploymentTemplate.Spec.Template,
		"without-crossplane.yaml": deployment.Spec.Template,
	} {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
		if !result.Allowed {
			t.Errorf("%s: the restricted Pod security standard refuses the Pod: %s", name, result.ForbiddenDetail())
		}
		c := template.Spec.Containers[0]
		if c.LivenessProbe == nil || c.ReadinessProbe == nil || len(c.Resources.Requests) == 0 {
			t.Errorf("%s: the container has no probes, or asks for nothing", name)
		}
		if !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) || ptr.Deref(template.Spec.SecurityContext.RunAsUser, 0) == 0 {
			t.Errorf("%s: the container can write its root, or its user has no number", name)
		}
	}
}

// read reads the objects of a file of examples/install, in their order. A field
// that their types do not have is an error.
func read(t *testing.T, file string, into ...runtime.Object) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "install", file))
	if err != nil {
		t.Fatal(err)
	}
	documents := bytes.Split(data, []byte("\n---\n"))
	if len(documents) != len(into) {
		t.Fatalf("%s has %d objects, want %d", file, len(documents), len(into))
	}
	for i, d := range documents {
		if err := yaml.UnmarshalStrict(d, into[i]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}
