// Package composition checks examples/compositions with the function that they
// are written for.
package composition

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// envFunction is the path of a function-patch-and-transform.
const envFunction = "FUNCTION"

const (
	examples  = "../../../examples/compositions"
	functions = "../../fakes/function"
)

// TestRender renders the example with `crossplane composition render`: with
// function-patch-and-transform itself, and with the function that stands for it
// elsewhere, which has to answer the same.
func TestRender(t *testing.T) {
	program := os.Getenv(envFunction)
	if program == "" {
		t.Skipf("NOT RUN: it needs function-patch-and-transform, which is not a Go module that can be had: set %s to the path of its program", envFunction)
	}
	bin, err := programs.Build(t.Context(), os.Stderr, programs.Crossplane, programs.CrossplaneCLI)
	if err != nil {
		t.Fatal(err)
	}
	ready := serve(t, build(t, functions+"/autoready", "github.com/crossplane/function-auto-ready"))
	theirs := serve(t, program)
	ours := serve(t, build(t, functions, "."))
	cases := map[string]struct {
		reason   string
		xr       string
		observed string
		want     []string // Kinds and names.
		status   string   // What the ModelServer's status has at least.
	}{
		"New": {
			reason: "The example as it is: without an artifact there is no Deployment.",
			xr:     filepath.Join(examples, "modelserver.yaml"),
			want:   []string{"ModelServer qwen3-0-6b", "Artifact qwen3-0-6b"},
			status: "{}",
		},
		"Repacked": {
			reason: "Another revision was packed, and is told of before it is served.",
			xr:     "testdata/serving.yaml", observed: "testdata/observed.yaml",
			want: []string{"ModelServer qwen3-0-6b", "Artifact qwen3-0-6b", "Deployment qwen3-0-6b"},
			status: `{"digest": "sha256:2222", "reference": "registry.example.com/models/team-a/qwen3-0-6b@sha256:2222",
				"serving": "registry.example.com/models/team-a/qwen3-0-6b@sha256:1111"}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out [2]string
			for i, address := range []string{theirs, ours} {
				args := []string{
					"composition", "render", tc.xr, filepath.Join(examples, "composition.yaml"), functionsFile(t, address, ready),
					"--crossplane-binary=" + filepath.Join(bin, "crossplane-core"), "--xrd=" + filepath.Join(examples, "xrd.yaml"),
				}
				if tc.observed != "" {
					args = append(args, "--observed-resources="+tc.observed)
				}
				out[i] = run(t, exec.CommandContext(t.Context(), filepath.Join(bin, "crossplane"), args...))
			}
			if diff := cmp.Diff(out[0], out[1]); diff != "" {
				t.Errorf("\n%s\nrender: -function-patch-and-transform, +test/fakes/function:\n%s", tc.reason, diff)
			}
			check(t, tc.reason, out[0], tc.want, tc.status)
		})
	}
}

// check checks which objects were rendered, and the status of the first.
func check(t *testing.T, reason, rendered string, want []string, status string) {
	t.Helper()
	var got []string
	var xr unstructured.Unstructured
	for doc := range strings.SplitSeq(rendered, "\n---\n") {
		u := unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		if xr.Object == nil {
			xr = u
		}
		got = append(got, u.GetKind()+" "+u.GetName())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\n%s\nrender: -want, +got:\n%s", reason, diff)
	}
	wanted := map[string]any{}
	if err := yaml.Unmarshal([]byte(status), &wanted); err != nil {
		t.Fatal(err)
	}
	is, _, err := unstructured.NestedMap(xr.Object, "status")
	if err != nil {
		t.Fatal(err)
	}
	delete(is, "conditions")
	if diff := cmp.Diff(wanted, is); diff != "" {
		t.Errorf("\n%s\nstatus: -want, +got:\n%s", reason, diff)
	}
}

// functionsFile is the example's functions.yaml for functions that serve at
// these addresses.
func functionsFile(t *testing.T, compose, ready string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(examples, "functions.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{"function-patch-and-transform": compose, "function-auto-ready": ready} {
		const annotated = "  name: %s\n  annotations: {render.crossplane.io/runtime: Development, render.crossplane.io/runtime-development-target: %q}\n"
		b = bytes.Replace(b, []byte("  name: "+name+"\n"), fmt.Appendf(nil, annotated, name, address), 1)
	}
	file := filepath.Join(t.TempDir(), "functions.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// build builds a program of another module.
func build(t *testing.T, dir, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "function")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir = dir
	run(t, cmd)
	return out
}

// serve starts a function and returns its address.
func serve(t *testing.T, program string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(program, "--insecure", "--address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // It is not there yet.
		}
		return true, c.Close()
	})
	if err != nil {
		t.Fatalf("%s does not serve: %v", program, err)
	}
	return address
}

// run runs a command and returns what it writes.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}
