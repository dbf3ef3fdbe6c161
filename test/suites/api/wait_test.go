package api

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// TestKubectlWait has kubectl wait for Artifacts as the guide about GitOps says.
func TestKubectlWait(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	kubectl := kubectlFor(t)
	cases := map[string]struct {
		reason string
		change string // A patch of the spec, after the status was written.
		status string
		ready  bool
		stalls bool
	}{
		"NotReconciledYet": {reason: "An Artifact that was just created is not ready."},
		"Ready": {
			reason: "An Artifact that is ready is.",
			status: `{"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Available", "observedGeneration": 1}]}`,
			ready:  true,
		},
		"ReadyOfAnotherSpec": {
			reason: "An Artifact whose spec was just changed is not ready.",
			status: `{"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Available", "observedGeneration": 1}]}`,
			change: `{"spec": {"forProvider": {"format": "Image"}}}`,
		},
		"Stalled": {
			reason: "An Artifact that waits for a person can be waited for.",
			status: `{"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "reason": "Gated", "observedGeneration": 1},
				{"type": "Stalled", "status": "True", "reason": "Gated", "observedGeneration": 1}]}`,
			stalls: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := artifact(t, namespace, minimal, nil)
			if err := c.Create(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if tc.status != "" {
				patch := map[string]any{"status": timed(t, tc.status)}
				text, err := json.Marshal(patch)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Status().Patch(t.Context(), a, client.RawPatch(types.MergePatchType, text)); err != nil {
					t.Fatal(err)
				}
			}
			if tc.change != "" {
				if err := c.Patch(t.Context(), a, client.RawPatch(types.MergePatchType, []byte(tc.change))); err != nil {
					t.Fatal(err)
				}
			}
			for condition, want := range map[string]bool{"Ready": tc.ready, "Stalled": tc.stalls} {
				// With no time to wait it looks once.
				out, err := kubectl("-n", namespace, "wait", "artifact/"+a.GetName(), "--for=condition="+condition, "--timeout=0")
				if err != nil && !strings.Contains(out, "condition not met") {
					t.Fatalf("kubectl wait: %s", out)
				}
				if got := err == nil; got != want {
					t.Errorf("\n%s\nkubectl wait --for=condition=%s: want %t, got %t: %s", tc.reason, condition, want, got, out)
				}
			}
		})
	}
}

// timed returns a status whose conditions have a time.
func timed(t *testing.T, text string) map[string]any {
	t.Helper()
	status := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok {
			c["lastTransitionTime"] = "2026-01-01T00:00:00Z"
		}
	}
	return status
}

// kubectlFor returns what runs kubectl against the API server, and returns its output.
func kubectlFor(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	dir, err := programs.ControlPlane(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	const name = "test"
	server, config := apiserver.Config(t), clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server.Host, CertificateAuthorityData: server.CAData}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: server.CertData, ClientKeyData: server.KeyData}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "kubectl"), append([]string{"--kubeconfig=" + file}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}
