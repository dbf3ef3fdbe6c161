package artifact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// longest is as long as an Artifact's name can be.
var longest = strings.Repeat("a", validation.DNS1123SubdomainMaxLength)

// names are Artifacts' names, all valid, that shortening might confuse.
func names() []string {
	out := []string{"a", "qwen3", "qwen3.0", "qwen3-0", longest, longest[:252] + "b"}
	// Around each limit, and with separators where a name would be cut.
	for n := 30; n <= validation.DNS1123SubdomainMaxLength; n++ {
		out = append(out, strings.Repeat("b", n-1)+"c")
		out = append(out, "d"+strings.Repeat("-", n-2)+"d")
		out = append(out, strings.Repeat("e.", n/2)+"e")
	}
	return out
}

func TestPVCName(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"Short": {
			reason: "The name of a claim should begin with its Artifact's.",
			args:   "qwen3-0-6b",
			want:   "qwen3-0-6b-workspace",
		},
		"LongestThatFits": {
			reason: "A name that fits should not be shortened.",
			args:   strings.Repeat("a", 232),
			want:   strings.Repeat("a", 232) + "-workspace",
		},
		"Longest": {
			reason: "A name that is too long should end with a hash.",
			args:   longest,
			want:   strings.Repeat("a", 232) + "-" + shortHash(longest) + "-workspace",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := PVCName(tc.args)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nPVCName(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestNamesAreValidAndDistinct checks each name that is derived from an Artifact's.
func TestNamesAreValidAndDistinct(t *testing.T) {
	type want struct {
		// problems returns the validation errors of a name.
		problems func(made string) []string

		// distinct reports whether two Artifacts must have different names.
		distinct bool
	}
	job := func(made string) []string {
		return append(validation.IsDNS1123Subdomain(made), validation.IsValidLabelValue(made)...)
	}
	cases := map[string]struct {
		reason string
		args   func(name string) string
		want   want
	}{
		"PVC": {
			reason: "The names of claims should be DNS subdomains without collisions.",
			args:   PVCName,
			want:   want{problems: validation.IsDNS1123Subdomain, distinct: true},
		},
		"Secret": {
			reason: "The names of Secrets should be DNS subdomains without collisions.",
			args:   secretName,
			want:   want{problems: validation.IsDNS1123Subdomain, distinct: true},
		},
		"Instance": {
			reason: "Labels should have a valid length without collisions.",
			args:   func(name string) string { return SelectorLabelsForArtifact(name)[LabelInstance] },
			want:   want{problems: validation.IsValidLabelValue, distinct: true},
		},
		"Job": {
			reason: "The names of Jobs should be valid labels of their Pods, and differ by the owner's UID.",
			args:   func(name string) string { return JobName(newArtifact(withName(name))) },
			want:   want{problems: job},
		},
		"GeneratedJob": {
			reason: "Generated names should be valid labels of Pods.",
			args: func(name string) string {
				return BuildJob(newArtifact(withName(name)), testKitImage, nil).GetGenerateName() + "x7f2k"
			},
			want: want{problems: job},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			seen := map[string]string{}
			for _, n := range withLookalikes(names(), tc.args) {
				made := tc.args(n)
				if problems := tc.want.problems(made); len(problems) > 0 {
					t.Fatalf("\n%s\n%q makes %q: %v", tc.reason, n, made, problems)
				}
				if other, ok := seen[made]; ok && other != n && tc.want.distinct {
					t.Fatalf("\n%s\n%q and %q both make %q", tc.reason, other, n, made)
				}
				seen[made] = n
			}
		})
	}
}

// withLookalikes adds to names those that look as if they had been shortened.
func withLookalikes(names []string, makeName func(string) string) []string {
	out := append([]string{}, names...)
	for _, n := range names {
		made := makeName(n)
		for _, suffix := range []string{PVCSuffix, ""} {
			lookalike, ok := strings.CutSuffix(made, suffix)
			if ok && len(validation.IsDNS1123Subdomain(lookalike)) == 0 {
				out = append(out, lookalike)
			}
		}
	}
	return out
}

func TestLabels(t *testing.T) {
	type args struct{ name, version string }
	selector := map[string]string{
		"app.kubernetes.io/name":       "provider-kitops",
		"app.kubernetes.io/instance":   testName,
		"app.kubernetes.io/component":  ComponentArtifact,
		"app.kubernetes.io/managed-by": "provider-kitops",
	}
	with := func(version string) map[string]string {
		return merged(selector, map[string]string{"app.kubernetes.io/version": version})
	}
	cases := map[string]struct {
		reason string
		args   args
		want   map[string]string
	}{
		"Version": {
			reason: "Objects should be labelled with the provider's version.",
			args:   args{name: testName, version: "v1.2.3"},
			want:   with("v1.2.3"),
		},
		"NoVersion": {
			reason: "An unknown version should be omitted.",
			args:   args{name: testName},
			want:   selector,
		},
		"BuildMetadata": {
			reason: "Characters of a semantic version that a label does not allow should be replaced.",
			args:   args{name: testName, version: "v1.2.3+dirty"},
			want:   with("v1.2.3-dirty"),
		},
		"LongVersion": {
			reason: "The value of a label should have a valid length.",
			args:   args{name: testName, version: "v1." + strings.Repeat("2", 100)},
			want:   with("v1." + strings.Repeat("2", 60)),
		},
		"NothingLeft": {
			reason: "A version without valid characters should be omitted.",
			args:   args{name: testName, version: "+++"},
			want:   selector,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := LabelsForArtifact(tc.args.name, tc.args.version)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nLabelsForArtifact(): -want, +got:\n%s", tc.reason, diff)
			}
			for key, value := range got {
				if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
					t.Errorf("\n%s\n%s=%s: %v", tc.reason, key, value, problems)
				}
			}
			if diff := cmp.Diff(selector, SelectorLabelsForArtifact(tc.args.name)); diff != "" {
				t.Errorf("\nAn upgrade must find what an older version made.\nSelectorLabelsForArtifact(): -want, +got:\n%s", diff)
			}
		})
	}
}

func TestJobName(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   bool
	}{
		"Same":      {reason: "The Job of an Artifact should always have the same name.", args: newArtifact(), want: true},
		"Spec":      {reason: "A changed spec should not lead to a second Job beside the first.", args: newArtifact(withModel("other/model", "v2")), want: true},
		"Run":       {reason: "A retry should not lead to a second Job beside the first.", args: newArtifact(withRun(Run{Hash: "h", Number: 2})), want: true},
		"Recreated": {reason: "An Artifact that was deleted and recreated should have another Job.", args: newArtifact(withUID(otherUID))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			name := JobName(tc.args)
			if got := name == JobName(newArtifact()); got != tc.want {
				t.Errorf("\n%s\nJobName(): %q, same: want %t, got %t", tc.reason, name, tc.want, got)
			}
			if !strings.HasPrefix(name, testName+"-") {
				t.Errorf("\nA Job can be told by its Artifact's name.\nJobName(): %q", name)
			}
		})
	}
}
