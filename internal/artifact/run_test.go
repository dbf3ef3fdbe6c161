package artifact

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Run hashes that were given out. A value that changes here makes every
// Artifact in the world run again: never change one, only add.
const (
	goldenDefault  = "20f1edbd2397685f"
	goldenRevision = "9ba479cac89145b9"
	goldenModel    = "840d9fda72cd3b37"
	goldenModelKit = "8306b3f758bd1647"
	goldenStream   = "03545e28e7930cc5"
	goldenGPT2     = "289d43a87bd9c297"
	goldenNoSource = "2cd43d02ea651f37"
)

func TestRunHash(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"Default": {
			reason: "The common case.",
			args:   newArtifact(),
			want:   goldenDefault,
		},
		"Revision": {
			reason: "Another revision is another artifact.",
			args:   newArtifact(withModel("Qwen/Qwen3-0.6B", "v2")),
			want:   goldenRevision,
		},
		"Model": {
			reason: "Another model is another artifact.",
			args:   newArtifact(withModel("Qwen/Qwen3-1.7B", "main")),
			want:   goldenModel,
		},
		"BareModel": {
			reason: "A model may have no organisation.",
			args:   newArtifact(withModel("gpt2", "")),
			want:   goldenGPT2,
		},
		"Format": {
			reason: "Another format is another artifact.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Format = modelv1alpha1.PackFormatModelKit })),
			want:   goldenModelKit,
		},
		"Pipeline": {
			reason: "Another pipeline is another artifact.",
			args:   newArtifact(withStream()),
			want:   goldenStream,
		},
		"NoSource": {
			reason: "An Artifact that is only looked at has a hash, too.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })),
			want:   goldenNoSource,
		},
		"EmptySource": {
			reason: "A source of no kind is no source.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = &modelv1alpha1.Source{} })),
			want:   goldenNoSource,
		},
		"UnsetIsDefault": {
			reason: "A default that is written changes nothing.",
			args: newArtifact(withModel("Qwen/Qwen3-0.6B", ""), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Format, p.Pipeline = "", ""
			})),
			want: goldenDefault,
		},
		"Target": {
			reason: "A changed name in a registry moves no bytes.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Target = &modelv1alpha1.Target{Registry: "other.example.com", Repository: "other", Tag: "v2"}
			})),
			want: goldenDefault,
		},
		"Overwrite": {
			reason: "What a tag may be taken from makes no other artifact.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite })),
			want:   goldenDefault,
		},
		"Pinned": {
			reason: "The default, written down, changes nothing.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.RevisionPolicy = modelv1alpha1.RevisionPinned
			})),
			want: goldenDefault,
		},
		"Follow": {
			reason: "Whether a branch is followed, and how closely, makes no other artifact of where it is now.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.RevisionPolicy = modelv1alpha1.RevisionFollow
				p.Source.HuggingFace.FollowInterval = &metav1.Duration{Duration: time.Minute}
			})),
			want: goldenDefault,
		},
		"Tag": {
			reason: "A changed tag moves no bytes.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.Tag = "v2" })),
			want:   goldenDefault,
		},
		"Storage": {
			reason: "Where the workspace lies makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("fast")}
			})),
			want: goldenDefault,
		},
		"Job": {
			reason: "Where the Pod runs makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Job = &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](1), Labels: map[string]string{"a": "b"}}
			})),
			want: goldenDefault,
		},
		"Secrets": {
			reason: "Who asks makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "k"}
				p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "push"}
			})),
			want: goldenDefault,
		},
		"Metadata": {
			reason: "Who the Artifact is makes no other artifact.",
			args: newArtifact(withName("other"), withUID(otherUID), func(a *modelv1alpha1.Artifact) {
				a.SetLabels(map[string]string{"a": "b"})
				a.SetAnnotations(map[string]string{AnnotationRun: "7", AnnotationRunHash: "old"})
				a.SetGeneration(7)
			}),
			want: goldenDefault,
		},
		"Effective": {
			reason: "A ProviderConfig or an upgrade makes no other artifact.",
			args:   newArtifact(withEverything()),
			want:   goldenDefault,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := tc.args.DeepCopy()
			if diff := cmp.Diff(tc.want, RunHash(tc.args)); diff != "" {
				t.Errorf("\n%s\nRunHash(): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, tc.args); diff != "" {
				t.Errorf("\nRunHash changes nothing: -before, +after:\n%s", diff)
			}
		})
	}
}

func TestRunOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   map[string]string
		want   Run
	}{
		"Nothing":   {reason: "An object may say nothing.", want: Run{}},
		"RoundTrip": {reason: "What is written is read.", args: Run{Hash: "abc", Number: 7}.Annotations(), want: Run{Hash: "abc", Number: 7}},
		"NoNumber":  {reason: "What is no number counts as none.", args: map[string]string{AnnotationRunHash: "abc", AnnotationRun: "x"}, want: Run{Hash: "abc"}},
		"TooLarge":  {reason: "What is no such number counts as none.", args: map[string]string{AnnotationRun: "99999999999999999999"}, want: Run{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := RunOf(&metav1.ObjectMeta{Annotations: tc.args})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRunOf(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	type want struct{ external, reference string }
	target := func(t modelv1alpha1.Target) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target = &t })
	}
	effective := withEffective(modelv1alpha1.Effective{Registry: "config.example.com:5000"})
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"Target": {
			reason: "A target may say it all.",
			args:   newArtifact(),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:v1"},
		},
		"DefaultTag": {
			reason: "The tag is latest unless the target says.",
			args:   newArtifact(target(modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/qwen3"})),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:latest"},
		},
		"DefaultRegistry": {
			reason: "The registry is the ProviderConfig's unless the target says.",
			args:   newArtifact(target(modelv1alpha1.Target{Repository: "models/qwen3", Tag: "v1"}), effective),
			want:   want{external: "config.example.com:5000/models/qwen3", reference: "config.example.com:5000/models/qwen3:v1"},
		},
		"TargetWins": {
			reason: "The target's registry holds over the ProviderConfig's.",
			args:   newArtifact(effective),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:v1"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{external: ExternalName(tc.args), reference: OCIReference(tc.args)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nExternalName(), OCIReference(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func withPipeline(p modelv1alpha1.PipelineType) artifactModifier {
	return withParameters(func(fp *modelv1alpha1.ArtifactParameters) { fp.Pipeline = p })
}

func TestPipeline(t *testing.T) {
	const (
		kit    = modelv1alpha1.PipelineKit
		stream = modelv1alpha1.PipelineStream
	)
	unset := withPipeline("")
	config := func(p modelv1alpha1.PipelineType) artifactModifier {
		return withEffective(modelv1alpha1.Effective{Pipeline: p})
	}
	hub := func(endpoint string) artifactModifier {
		return withEffective(modelv1alpha1.Effective{HubEndpoint: endpoint})
	}
	// hashOf returns the run hash of what the spec asks for, by this pipeline.
	hashOf := func(p modelv1alpha1.PipelineType) string { return RunHash(newArtifact(withPipeline(p))) }
	status := func(change func(*modelv1alpha1.ArtifactObservation)) artifactModifier {
		return func(a *modelv1alpha1.Artifact) { change(&a.Status.AtProvider) }
	}
	made := func(p modelv1alpha1.PipelineType) artifactModifier {
		return status(func(s *modelv1alpha1.ArtifactObservation) { s.Digest, s.RunHash = testDigest, hashOf(p) })
	}
	running := func(phase modelv1alpha1.ArtifactPhase) artifactModifier {
		return func(a *modelv1alpha1.Artifact) {
			a.SetAnnotations(Run{Hash: hashOf(kit), Number: 1}.Annotations())
			a.Status.AtProvider.Phase = phase
		}
	}
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   modelv1alpha1.PipelineType
	}{
		"Default":       {reason: "Kit is the default for what kit can do.", args: newArtifact(unset), want: kit},
		"Spec":          {reason: "The spec's pipeline wins over the ProviderConfig's.", args: newArtifact(withPipeline(kit), config(stream)), want: kit},
		"Config":        {reason: "The ProviderConfig's pipeline wins over the default.", args: newArtifact(unset, config(stream)), want: stream},
		"ConfigKit":     {reason: "A ProviderConfig may name the default.", args: newArtifact(unset, config(kit)), want: kit},
		"ModelKit":      {reason: "Kit packs its own format.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatModelKit)), want: kit},
		"NoSource":      {reason: "An Artifact that is only observed has the default.", args: newArtifact(unset, withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })), want: kit},
		"Image":         {reason: "Only Stream packs an image.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatImage)), want: stream},
		"ImageOfKit":    {reason: "A ProviderConfig's default of Kit does not apply to what only Stream can do.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatImage), config(kit)), want: stream},
		"ExplicitImage": {reason: "An explicit Kit is kept, and its run says why it cannot work.", args: newArtifact(withPipeline(kit), withFormat(modelv1alpha1.PackFormatImage)), want: kit},
		"Dataset":       {reason: "Only Stream reads datasets.", args: newArtifact(unset, withDataset("openai/gsm8k")), want: stream},
		"Files":         {reason: "Only Stream reads chosen files.", args: newArtifact(unset, withFiles(nil, []string{"*.onnx"})), want: stream},
		"NoFiles":       {reason: "A filter without patterns chooses nothing.", args: newArtifact(unset, withFiles(nil, nil)), want: kit},
		"OCI":           {reason: "Only Stream reads from a registry.", args: newArtifact(unset, withOCI(testReference)), want: stream},
		"BareModel":     {reason: "Kit takes no model without an organisation.", args: newArtifact(unset, withModel("gpt2", "")), want: stream},
		"OtherHub":      {reason: "Kit knows the public Hub only.", args: newArtifact(unset, hub("https://hub.example.com")), want: stream},
		"PublicHub":     {reason: "A ProviderConfig may name the public Hub.", args: newArtifact(unset, hub("https://huggingface.co/")), want: kit},

		"Made":         {reason: "A change of the ProviderConfig should not rebuild an artifact.", args: newArtifact(unset, config(stream), made(kit)), want: kit},
		"MadeByStream": {reason: "An artifact keeps the pipeline that a ProviderConfig named before.", args: newArtifact(unset, made(stream)), want: stream},
		"MadeBeforeMirror": {
			reason: "Another Hub in the ProviderConfig should not rebuild what was made of the public one.",
			args:   newArtifact(unset, hub("https://hub.example.com"), made(kit)),
			want:   kit,
		},
		"MadeOtherwise": {reason: "A change of the spec is built as the ProviderConfig says now.", args: newArtifact(unset, config(stream), made(kit), withModel("Qwen/Qwen3-1.7B", "main")), want: stream},
		"Explicit":      {reason: "The spec rebuilds what was made by another pipeline.", args: newArtifact(withPipeline(stream), made(kit)), want: stream},
		"Staged": {
			reason: "What is staged keeps its pipeline.",
			args: newArtifact(unset, config(stream), status(func(s *modelv1alpha1.ArtifactObservation) {
				s.Staged = &modelv1alpha1.StagedArtifact{Digest: testDigest, RunHash: hashOf(kit)}
			})),
			want: kit,
		},
		"Lost": {
			reason: "A run hash without a digest is of nothing that exists.",
			args:   newArtifact(unset, config(stream), status(func(s *modelv1alpha1.ArtifactObservation) { s.RunHash = hashOf(kit) })),
			want:   stream,
		},
		"Running": {reason: "A change of the ProviderConfig should not stop a run.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhaseRunning)), want: kit},
		"Pending": {reason: "Another pipeline may start where this one cannot.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhasePending)), want: stream},
		"Failed":  {reason: "Another pipeline may do what this one could not.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhaseFailed)), want: stream},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Pipeline(tc.args)); diff != "" {
				t.Errorf("\n%s\nPipeline(): -want, +got:\n%s", tc.reason, diff)
			}
			explicit := tc.args.DeepCopy()
			explicit.Spec.ForProvider.Pipeline = tc.want
			if diff := cmp.Diff(RunHash(explicit), RunHash(tc.args)); diff != "" {
				t.Errorf("\n%s\nWriting the pipeline down should not change the run hash: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want == kit, NeedsWorkspace(tc.args)); diff != "" {
				t.Errorf("\n%s\nNeedsWorkspace(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRetryWait(t *testing.T) {
	policy := func(limit int32, interval time.Duration) *modelv1alpha1.RetryPolicy {
		return &modelv1alpha1.RetryPolicy{Limit: &limit, Interval: &metav1.Duration{Duration: interval}}
	}
	type args struct {
		policy   *modelv1alpha1.RetryPolicy
		failures int64
		failure  outcome.Failure
	}
	// The wait is the shortest, to which up to half is added.
	type want struct {
		wait  time.Duration
		again bool
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"First": {
			reason: "What passes is tried again after the interval.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 30 * time.Second, again: true},
		},
		"Third": {
			reason: "The wait doubles with each failure.",
			args:   args{failures: 3, failure: outcome.Failure{Reason: outcome.Evicted}},
			want:   want{wait: 2 * time.Minute, again: true},
		},
		"Last": {
			reason: "Five tries more is the default.",
			args:   args{failures: 5, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 8 * time.Minute, again: true},
		},
		"Limit": {
			reason: "Past the limit nothing is tried again.",
			args:   args{failures: 6, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Never": {
			reason: "A limit of 0 is never.",
			args:   args{policy: policy(0, time.Second), failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Longest": {
			reason: "No wait of our own making is longer than an hour.",
			args:   args{policy: policy(100, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: time.Hour, again: true},
		},
		"Asked": {
			reason: "A server that asks for a longer wait gets it.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 300}},
			want:   want{wait: 5 * time.Minute, again: true},
		},
		"AskedForEver": {
			reason: "No server makes us wait for ever.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 1 << 40}},
			want:   want{wait: time.Hour, again: true},
		},
		"NotStarted": {
			reason: "A run that did not start has tried nothing, and waits no longer than an hour for as long as it takes.",
			args:   args{policy: policy(0, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.NotStarted}},
			want:   want{wait: time.Hour, again: true},
		},
		"DoesNotPass": {
			reason: "What does not pass by itself waits for a change.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.Unauthorized}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{Spec: modelv1alpha1.ArtifactSpec{ForProvider: modelv1alpha1.ArtifactParameters{Retry: tc.args.policy}}}
			seen := map[time.Duration]bool{}
			for run := range int64(20) {
				wait, again := RetryWait(a, tc.args.failures, run, tc.args.failure)
				if again != tc.want.again || wait < tc.want.wait || wait > tc.want.wait*3/2 {
					t.Errorf("\n%s\nRetryWait(...): got %s, %t, want %s to %s, %t", tc.reason, wait, again, tc.want.wait, tc.want.wait*3/2, tc.want.again)
				}
				if same, _ := RetryWait(a, tc.args.failures, run, tc.args.failure); same != wait {
					t.Errorf("\n%s\nRetryWait(...): got %s, then %s", tc.reason, wait, same)
				}
				seen[wait] = true
			}
			if tc.want.again && len(seen) < 10 {
				t.Errorf("\n%s\nthe waits of 20 runs do not spread: %v", tc.reason, seen)
			}
		})
	}
}
