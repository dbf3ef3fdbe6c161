package monitoring

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// promtool runs promtool in a folder with the rules and their tests.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	program := Program(t, "promtool")
	_, rules, err := Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("testdata/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"rules.yaml": rules, "rules_test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRulesAreWellFormed(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
}

// TestRulesFire has promtool evaluate the rules over series that are written down.
func TestRulesFire(t *testing.T) {
	promtool(t, "test", "rules", "rules_test.yaml")
	tests, err := os.ReadFile("testdata/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, _, err := Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if !strings.Contains(string(tests), r.Annotations["runbook_url"]) {
			t.Errorf("%s: no test has it fire", r.Alert)
		}
	}
}

// TestRunbooks checks that each alert is as the guidelines of monitoring-mixins ask
// (https://github.com/monitoring-mixins/docs), and that its runbook is there.
func TestRunbooks(t *testing.T) {
	const folder = "docs/runbooks/alerts/"
	rules, _, err := Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(root, "docs/guides/monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^KitOps[A-Z][A-Za-z]+$`)
	byReason := regexp.MustCompile(`by \([^)]*\breason\b`)
	pages := map[string]bool{}
	for _, r := range rules {
		page := r.Alert + ".md"
		pages[page] = true
		if !name.MatchString(r.Alert) {
			t.Errorf("%s: an alert's name should be in CamelCase and begin with KitOps", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s: severity is %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || strings.Contains(r.Annotations["summary"], "{{") || r.Annotations["description"] == "" {
			t.Errorf("%s: want a summary that is the same for all its alerts, and a description", r.Alert)
		}
		if want := "https://github.com/crossplane-contrib/provider-kitops/blob/main/" + folder + page; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		reasonURL := ""
		if byReason.MatchString(r.Expr) {
			reasonURL = "https://github.com/crossplane-contrib/provider-kitops/blob/main/docs/runbooks/failures.md#{{ $labels.reason | toLower }}"
		}
		if got := r.Annotations["reason_runbook_url"]; got != reasonURL {
			t.Errorf("%s: reason_runbook_url is %q, want %q", r.Alert, got, reasonURL)
		}
		if !strings.Contains(string(guide), "["+r.Alert+"](../runbooks/alerts/"+page+")") {
			t.Errorf("%s: docs/guides/monitoring.md should list it", r.Alert)
		}
		text, err := os.ReadFile(filepath.Join(root, folder, page))
		if err != nil {
			t.Error(err)
			continue
		}
		var headings []string
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "#") {
				headings = append(headings, strings.TrimSpace(line))
			}
		}
		want := []string{"# " + r.Alert, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"}
		if diff := cmp.Diff(want, headings); diff != "" {
			t.Errorf("%s: headings of the runbook: -want, +got:\n%s", r.Alert, diff)
		}
		if !strings.Contains(string(text), "Severity: "+r.Labels["severity"]+".") {
			t.Errorf("%s: the runbook should name the severity", r.Alert)
		}
	}
	files, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !pages[f.Name()] {
			t.Errorf("%s is the runbook of no alert", f.Name())
		}
	}
}

// TestPodMonitors checks that each PodMonitor selects Pods of its installation, and that
// the token it scrapes with is that of an account that may read metrics.
func TestPodMonitors(t *testing.T) {
	cases := map[string]struct {
		reason    string
		namespace string
		labels    map[string]any
	}{
		"podmonitor.yaml": {
			reason:    "Crossplane labels Pods with the name of the Provider object.",
			namespace: "crossplane-system",
			labels:    map[string]any{"pkg.crossplane.io/provider": nameIn(t, "examples/install/provider.yaml", "Provider")},
		},
		"podmonitor-without-crossplane.yaml": {
			reason:    "Without Crossplane, Pods have the labels of the Deployment.",
			namespace: "provider-kitops",
			labels:    podLabels(t),
		},
	}
	for file, tc := range cases {
		t.Run(file, func(t *testing.T) {
			objects := map[string]*unstructured.Unstructured{}
			for _, o := range manifests(t, "examples/monitoring/"+file) {
				objects[o.GetKind()] = o
				if ns := o.GetNamespace(); ns != "" && ns != tc.namespace {
					t.Errorf("%s is in namespace %s, want %s", o.GetKind(), ns, tc.namespace)
				}
			}
			spec, _ := objects["PodMonitor"].Object["spec"].(map[string]any)
			account, secret := objects["ServiceAccount"].GetName(), objects["Secret"]
			want := map[string]any{
				"selector": map[string]any{"matchLabels": tc.labels},
				"podMetricsEndpoints": []any{map[string]any{
					"port": "metrics", "scheme": "https",
					"authorization": map[string]any{"credentials": map[string]any{"name": secret.GetName(), "key": "token"}},
					"tlsConfig":     map[string]any{"insecureSkipVerify": true},
				}},
			}
			if diff := cmp.Diff(want, spec); diff != "" {
				t.Errorf("\n%s\nPodMonitor: -want, +got:\n%s", tc.reason, diff)
			}
			if got := secret.GetAnnotations()["kubernetes.io/service-account.name"]; got != account {
				t.Errorf("the token is that of %s, want %s", got, account)
			}
			subjects, _, err := unstructured.NestedSlice(objects["ClusterRoleBinding"].Object, "subjects")
			if diff := cmp.Diff([]any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": tc.namespace}}, subjects); diff != "" || err != nil {
				t.Errorf("subjects: %v, -want, +got:\n%s", err, diff)
			}
		})
	}
}

// podLabels returns the labels of the Pods without Crossplane.
func podLabels(t *testing.T) map[string]any {
	t.Helper()
	for _, o := range manifests(t, "examples/install/without-crossplane.yaml") {
		if o.GetKind() == "Deployment" {
			labels, _, err := unstructured.NestedMap(o.Object, "spec", "template", "metadata", "labels")
			if err != nil {
				t.Fatal(err)
			}
			return labels
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}

// nameIn returns the name of the object of a kind in a file.
func nameIn(t *testing.T, file, kind string) string {
	t.Helper()
	for _, o := range manifests(t, file) {
		if o.GetKind() == kind {
			return o.GetName()
		}
	}
	t.Fatalf("%s has no %s", file, kind)
	return ""
}

// manifests returns the objects of a file.
func manifests(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &o.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, o)
	}
	return out
}
