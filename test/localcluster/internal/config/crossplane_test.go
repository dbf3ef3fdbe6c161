package config

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestCrossplaneMayWhatItsChartSays keeps Crossplane's rights here and those in
// the Helm chart of the same version together.
func TestCrossplaneMayWhatItsChartSays(t *testing.T) {
	chart := filepath.Join(crossplaneModule(t), "cluster", "charts", "crossplane", "templates")
	var all bytes.Buffer
	for _, file := range []string{"clusterrole.yaml", "rbac-manager-clusterrole.yaml", "rbac-manager-allowed-provider-permissions.yaml"} {
		data, err := os.ReadFile(filepath.Join(chart, file))
		if err != nil {
			t.Fatal(err)
		}
		// What is left without the templates' own language is YAML.
		text := regexp.MustCompile(`\{\{-? *template "crossplane.name" \. *\}\}`).ReplaceAllString(string(data), "crossplane")
		all.WriteString("---\n" + regexp.MustCompile(`(?m) *\{\{-?.*?\}\}`).ReplaceAllString(text, "") + "\n")
	}
	files, err := Files(Node{}, "")
	if err != nil {
		t.Fatalf("Files(...): %v", err)
	}
	want := clusterRoles(t, all.Bytes())
	if len(want) < 4 {
		t.Fatalf("the chart has the ClusterRoles %v: it is written in another way now", slices.Sorted(maps.Keys(want)))
	}
	if diff := cmp.Diff(want, clusterRoles(t, files["crossplane.yaml"])); diff != "" {
		t.Errorf("Files(...): ClusterRoles: -chart, +here:\n%s", diff)
	}
}

// crossplaneModule is the folder of Crossplane's module, if it is on this
// machine: where it was built it is.
func crossplaneModule(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/crossplane/crossplane/v2")
	cmd.Dir = filepath.Join("..", "..", "..", "programs", "modules", "crossplane")
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("Crossplane's module is not on this machine: %v", err)
	}
	return dir
}

// A grant is what a ClusterRole grants.
type grant struct {
	Rules       []rbacv1.PolicyRule
	Aggregation *rbacv1.AggregationRule
}

// clusterRoles are the ClusterRoles of a YAML stream, by name.
func clusterRoles(t *testing.T, stream []byte) map[string]grant {
	t.Helper()
	out := map[string]grant{}
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	for {
		role := &rbacv1.ClusterRole{}
		if err := d.Decode(role); err != nil {
			if err.Error() == "EOF" {
				return out
			}
			t.Fatal(err)
		}
		if role.Kind == "ClusterRole" {
			out[role.GetName()] = grant{Rules: role.Rules, Aggregation: role.AggregationRule}
		}
	}
}
