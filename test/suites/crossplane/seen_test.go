package crossplane

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what people see to testdata anew")

// testSeen holds what people see of an Artifact in tests.
func testSeen(t *testing.T, n *tenant) {
	cases := map[string]struct {
		reason string
		output func() string
	}{
		"get-managed": {
			reason: "All that Crossplane manages says in its columns whether it is well.",
			output: func() string { return kubectl(t, "", "get", "managed", "--namespace="+n.namespace) },
		},
		"get-artifacts": {
			reason: "So do Artifacts, with phase and reference.",
			output: func() string {
				return linesOf(kubectl(t, "", "get", "artifacts", "--all-namespaces"), "NAMESPACE ", n.namespace+" ")
			},
		},
		"get-artifacts-wide": {
			reason: "There is more for those who ask.",
			output: func() string { return kubectl(t, "", "get", "artifacts", "--output=wide", "--namespace="+n.namespace) },
		},
		"explain": {
			reason: "Each field is documented.",
			output: func() string { return kubectl(t, "", "explain", "artifact.spec.forProvider") },
		},
		"trace": {
			reason: "The trace of an Artifact shows its state.",
			output: func() string {
				return trace(t, "artifact.model.kitops.m.crossplane.io/speech", "--namespace="+n.namespace)
			},
		},
		"trace-provider": {
			reason: "So does the provider's.",
			output: func() string { return trace(t, "provider.pkg.crossplane.io/"+providerName) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hold(t, name, tc.reason, tc.output(), n.namespace)
		})
	}
}

// trace runs crossplane resource trace.
func trace(t *testing.T, args ...string) string {
	t.Helper()
	cmd := local.Cluster.CrossplaneCLI(t.Context(), append([]string{"resource", "trace"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("crossplane resource trace: %v\n%s", err, out)
	}
	return string(out)
}

// hold compares an output with the one in testdata, but for what is another
// each time.
func hold(t *testing.T, name, reason, output, namespace string) {
	t.Helper()
	got := normal(output, namespace)
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("\n%s\n%s: -want, +got:\n%s", reason, name, diff)
	}
}

// What is another each time.
var (
	digests   = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	revisions = regexp.MustCompile(`(` + providerName + `)-[0-9a-f]{12}`)
	ages      = regexp.MustCompile(`(?m) (\d+[smhd])+( |$)`)
	blanks    = regexp.MustCompile(`  +`)
	ends      = regexp.MustCompile(`(?m) +$`)
)

// normal is an output without what is another each time: its columns are apart
// by two blanks, whatever is in them.
func normal(output, namespace string) string {
	for _, r := range []struct {
		find *regexp.Regexp
		with string
	}{
		{ends, ""},
		{ages, " AGE$2"},
		{digests, "sha256:DIGEST"},
		{revisions, "$1-REVISION"},
		{regexp.MustCompile(regexp.QuoteMeta(namespace)), "NAMESPACE"},
		{regexp.MustCompile(regexp.QuoteMeta(local.RegistryHost)), "REGISTRY"},
		{blanks, "  "},
	} {
		output = r.find.ReplaceAllString(output, r.with)
	}
	return output
}

// linesOf are the lines of an output that begin with one of the prefixes.
func linesOf(output string, prefixes ...string) string {
	out := &strings.Builder{}
	for line := range strings.Lines(output) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}
