package api

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestArtifactDefaults(t *testing.T) {
	type want struct {
		parameters modelv1alpha1.ArtifactParameters
		config     *xpv2.ProviderConfigReference
		policies   xpv2.ManagementPolicies
	}
	config := &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "default"}
	all := xpv2.ManagementPolicies{xpv2.ManagementActionAll}
	source := func(revision string, token *modelv1alpha1.SecretKeySelector) *modelv1alpha1.Source {
		return &modelv1alpha1.Source{
			HuggingFace:    &modelv1alpha1.HuggingFaceSource{Model: "Qwen/Qwen3-0.6B", Revision: revision, TokenSecretRef: token},
			RevisionPolicy: modelv1alpha1.RevisionPinned,
		}
	}

	cases := map[string]struct {
		reason string
		spec   string
		args   fields
		want   want
	}{
		"Minimal": {
			reason: "What a spec does not say is filled in, so that everybody sees what holds.",
			spec:   minimal,
			want: want{
				parameters: modelv1alpha1.ArtifactParameters{
					Source: source("main", nil),
					Target: &modelv1alpha1.Target{Repository: "models/qwen3", Tag: "latest", ConflictPolicy: modelv1alpha1.ConflictFail},
					Format: modelv1alpha1.PackFormatModelPack,
				},
				config:   config,
				policies: all,
			},
		},
		"Token": {
			reason: "A token's key has a default.",
			spec:   minimal,
			args:   fields{"forProvider.source.huggingFace.tokenSecretRef.name": "hf"},
			want: want{
				parameters: modelv1alpha1.ArtifactParameters{
					Source: source("main", &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "token"}),
					Target: &modelv1alpha1.Target{Repository: "models/qwen3", Tag: "latest", ConflictPolicy: modelv1alpha1.ConflictFail},
					Format: modelv1alpha1.PackFormatModelPack,
				},
				config:   config,
				policies: all,
			},
		},
		"Written": {
			reason: "What a spec says is kept.",
			spec:   minimal,
			args: fields{
				"forProvider.source.huggingFace.revision": "v1",
				"forProvider.target.tag":                  "v2",
				"forProvider.format":                      "ModelKit",
				"providerConfigRef":                       map[string]any{"kind": "ProviderConfig", "name": "mine"},
			},
			want: want{
				parameters: modelv1alpha1.ArtifactParameters{
					Source: source("v1", nil),
					Target: &modelv1alpha1.Target{Repository: "models/qwen3", Tag: "v2", ConflictPolicy: modelv1alpha1.ConflictFail},
					Format: modelv1alpha1.PackFormatModelKit,
				},
				config:   &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "mine"},
				policies: all,
			},
		},
		"Observed": {
			reason: "An Artifact that is only looked at gets no source and no target.",
			spec:   observed,
			want: want{
				parameters: modelv1alpha1.ArtifactParameters{
					Format: modelv1alpha1.PackFormatModelPack,
				},
				config:   config,
				policies: xpv2.ManagementPolicies{xpv2.ManagementActionObserve},
			},
		},
	}
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := artifact(t, namespace, tc.spec, tc.args)
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			a := &modelv1alpha1.Artifact{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), a); err != nil {
				t.Fatal(err)
			}
			got := want{parameters: a.Spec.ForProvider, config: a.Spec.ProviderConfigReference, policies: a.Spec.ManagementPolicies}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nspec: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestArtifactImmutability(t *testing.T) {
	const (
		registry   = "forProvider.target.registry"
		repository = "forProvider.target.repository"
		target     = "forProvider.target"
	)
	sayRepository := []string{"forProvider.target.repository is immutable", "write it as it was, or create another Artifact"}
	sayRegistry := []string{"forProvider.target.registry is immutable, and cannot be set or removed afterwards", "write it as it was, or create another Artifact"}
	observe := []any{"Observe"}

	type args struct {
		spec   string
		before fields
		change fields
	}
	cases := map[string]struct {
		reason string
		args   args
		want   []string
	}{
		"RepositoryChanged": {
			reason: "The artifact stays where it is.",
			args:   args{spec: minimal, change: fields{repository: "models/other"}},
			want:   sayRepository,
		},
		"RegistryChanged": {
			reason: "The artifact stays where it is.",
			args:   args{spec: minimal, before: fields{registry: "a.example.com"}, change: fields{registry: "b.example.com"}},
			want:   sayRegistry,
		},
		"RegistryUnset": {
			reason: "Unset, another registry would hold.",
			args:   args{spec: minimal, before: fields{registry: "a.example.com"}, change: fields{registry: nil}},
			want:   sayRegistry,
		},
		"RegistrySetAfterwards": {
			reason: "Set, another registry would hold.",
			args:   args{spec: minimal, change: fields{registry: "a.example.com"}},
			want:   sayRegistry,
		},
		"TargetRemoved": {
			reason: "No policy makes it possible to remove and set anew.",
			args:   args{spec: minimal, change: fields{target: nil, "managementPolicies": observe}},
			want:   sayRepository,
		},
		"ForProviderRemoved": {
			reason: "No policy makes it possible to remove and set anew.",
			args:   args{spec: minimal, change: fields{"forProvider": nil, "managementPolicies": observe}},
			want:   sayRepository,
		},
		"TargetReplaced": {
			reason: "Both are checked where the target is written anew.",
			args:   args{spec: minimal, change: fields{target: map[string]any{"repository": "models/other", "registry": "a.example.com"}}},
			want:   append(append([]string{}, sayRepository...), sayRegistry...),
		},
		"ObservedRepositoryChanged": {
			reason: "Immutable is immutable for who only looks, too.",
			args:   args{spec: observed, before: fields{repository: "models/qwen3"}, change: fields{repository: "models/other"}},
			want:   sayRepository,
		},
		"TargetSetAfterwards": {
			reason: "Who only looked may begin to make.",
			args:   args{spec: observed, change: fields{repository: "models/qwen3", registry: "a.example.com"}},
		},
		"NoRegistryStaysNone": {
			reason: "Nothing has changed.",
			args:   args{spec: minimal, change: fields{}},
		},
		"RegistryStays": {
			reason: "Nothing has changed.",
			args:   args{spec: minimal, before: fields{registry: "a.example.com"}, change: fields{registry: "a.example.com"}},
		},
		"RestChanges": {
			reason: "All else may change.",
			args: args{spec: minimal, change: fields{
				"forProvider.source.huggingFace.model":    "Qwen/Qwen3-1.7B",
				"forProvider.source.huggingFace.revision": "v1",
				"forProvider.target.tag":                  "v2",
				"forProvider.target.credentialsSecretRef": map[string]any{"name": "other"},
				"forProvider.pipeline":                    "Kit",
				"forProvider.storage.size":                "1Gi",
				"managementPolicies":                      observe,
				"providerConfigRef":                       map[string]any{"kind": "ProviderConfig", "name": "other"},
			}},
		},
	}
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := artifact(t, namespace, tc.args.spec, tc.args.before)
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			assign(t, u, tc.args.change)
			checkAnswer(t, tc.reason, c.Update(t.Context(), u), tc.want)
		})
	}
}

func TestArtifactEffectiveStaysOut(t *testing.T) {
	const marker = "never-in-the-api"
	c := apiserver.Client(t)
	u := artifact(t, apiserver.Namespace(t, c), minimal, nil)
	if err := c.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	a := &modelv1alpha1.Artifact{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), a); err != nil {
		t.Fatal(err)
	}

	a.Effective = modelv1alpha1.Effective{Registry: marker + ".example.com", WorkerImage: marker}
	a.SetLabels(map[string]string{"changed": "true"})
	if err := c.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a.Effective.Registry = marker
	if err := c.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}

	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), stored); err != nil {
		t.Fatal(err)
	}
	raw, err := stored.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), marker) {
		t.Errorf("What the provider lays over an Artifact must never be stored:\n%s", raw)
	}
	if _, ok := stored.Object["effective"]; ok {
		t.Error("The stored Artifact has a field effective")
	}
}

func TestArtifactStatusIsKept(t *testing.T) {
	now := metav1.Now().Rfc3339Copy()
	want := modelv1alpha1.ArtifactObservation{
		Phase:           modelv1alpha1.PhaseFailed,
		Digest:          "sha256:" + strings.Repeat("0", 64),
		Reference:       "registry.example.com/models/qwen3:v1",
		PinnedReference: "registry.example.com/models/qwen3@sha256:" + strings.Repeat("0", 64),
		Size:            1 << 40,
		Files:           10,
		Source:          &modelv1alpha1.SourceObservation{Revision: strings.Repeat("0a", 20), License: "apache-2.0"},
		RunHash:         "0123456789abcdef",
		Run:             2,
		JobRef:          &modelv1alpha1.JobReference{Name: "qwen3-0123456789"},
		StartTime:       &now,
		CompletionTime:  &now,
		Failure:         &modelv1alpha1.FailureObservation{Reason: "Gated", Message: "Ask for access"},
	}

	c := apiserver.Client(t)
	u := artifact(t, apiserver.Namespace(t, c), minimal, nil)
	if err := c.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	a := &modelv1alpha1.Artifact{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), a); err != nil {
		t.Fatal(err)
	}
	a.Status.AtProvider = want
	a.SetConditions(xpv2.Available())
	a.SetLastHandledReconcileAt("token")
	if err := c.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	got := &modelv1alpha1.Artifact{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Status.AtProvider); diff != "" {
		t.Errorf("A status that was written is read: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(xpv2.Available(), got.GetCondition(xpv2.TypeReady), cmp.FilterPath(isTime, cmp.Ignore())); diff != "" {
		t.Errorf("Ready: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("token", got.GetLastHandledReconcileAt()); diff != "" {
		t.Errorf("GetLastHandledReconcileAt(): -want, +got:\n%s", diff)
	}
}

// isTime reports whether a path leads to the time of a condition's change.
func isTime(p cmp.Path) bool { return strings.HasSuffix(p.String(), "LastTransitionTime") }
