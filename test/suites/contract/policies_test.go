package contract

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// TestPolicies checks that a run of kit pushes nothing that a policy refuses.
func TestPolicies(t *testing.T) {
	model := addModel(t, map[string]string{
		"config.json": "{}", "README.md": "---\nlicense: mit\n---\n", "model.safetensors": "weights",
		"weights.bin": "PK\x03\x04 as torch.save writes it",
		"hub.json":    `{"scan": {"scansDone": true, "filesWithIssues": [{"path": "weights.bin", "level": "suspicious"}]}}`,
	})
	cases := map[string]struct {
		reason string
		policy policy.Policy
		want   outcome.Reason
		says   string
		moved  bool // Whether the files were downloaded.
	}{
		"Pickle":  {reason: "A pickle should be refused by its first bytes, before anything is pushed.", policy: policy.Policy{Files: policy.Rules{Deny: []string{policy.FormatPickle}}}, want: outcome.PolicyViolation, says: "weights.bin (pickle", moved: true},
		"Model":   {reason: "A denied model should be refused, before a byte is moved.", policy: policy.Policy{Models: policy.Rules{Deny: []string{"test-org/*"}}}, want: outcome.PolicyViolation, says: model},
		"Licence": {reason: "A denied licence should be refused, before a byte is moved.", policy: policy.Policy{Licenses: policy.Rules{Deny: []string{"MIT"}}}, want: outcome.PolicyViolation, says: "MIT"},
		"Size":    {reason: "A model that is too large should be refused, before a byte is moved.", policy: policy.Policy{MaxSize: 10}, want: outcome.PolicyViolation, says: "at most 10 bytes"},
		"Scan":    {reason: "A file that the Hub's scan did not find safe should be refused, before a byte is moved.", policy: policy.Policy{HubScan: policy.HubScanRequire}, want: outcome.PolicyViolation, says: "weights.bin (suspicious)"},
		"Allowed": {reason: "What the policy allows should be pushed.", policy: policy.Policy{HubScan: policy.HubScanWarn, Files: policy.Rules{Allow: []string{policy.FormatSafetensors, policy.FormatPickle}}}, moved: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := newRun(t, model, pipeline.FormatModelKit)
			run.Target.Repository += "-" + strings.ToLower(name)
			tc.policy.Of = `ProviderConfig "default"`
			run.Policies = policy.Set{tc.policy}
			suite.world.hub.ResetRequests()
			result, _, err := runKit(t.Context(), t, run)
			moved := false
			for _, r := range suite.world.hub.Requests() {
				moved = moved || strings.Contains(r.Path, "/resolve/")
			}
			if moved != tc.moved {
				t.Errorf("\n%s\nfiles were downloaded: %t", tc.reason, moved)
			}
			if tc.want == "" {
				if err != nil || result.Scan != "suspicious" {
					t.Errorf("\n%s\nRun(...): %+v, %v", tc.reason, result, err)
				}
				return
			}
			wantReason(t, err, tc.want)
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nRun(...): want an error that says %q, got %v", tc.reason, tc.says, err)
			}
			if _, _, err := stagingClient(t, run).Manifest(t.Context(), run.Target.Repository, stagingTag); !registry.IsNotFound(err) {
				t.Errorf("\n%s\na run that is refused should push nothing, got %v", tc.reason, err)
			}
		})
	}
}
