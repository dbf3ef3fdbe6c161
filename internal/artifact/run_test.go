package artifact

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
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
	goldenS3       = "13bdc422658cc618"
	goldenHTTP     = "7629dd922bd1ac28"
)

func TestRunHash(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"Default": {
			reason: "A model with the default format and pipeline should have this hash.",
			args:   newArtifact(),
			want:   goldenDefault,
		},
		"Revision": {
			reason: "Another revision should change the hash.",
			args:   newArtifact(withModel("Qwen/Qwen3-0.6B", "v2")),
			want:   goldenRevision,
		},
		"Model": {
			reason: "Another model should change the hash.",
			args:   newArtifact(withModel("Qwen/Qwen3-1.7B", "main")),
			want:   goldenModel,
		},
		"BareModel": {
			reason: "A model without an organisation should have a hash.",
			args:   newArtifact(withModel("gpt2", "")),
			want:   goldenGPT2,
		},
		"Format": {
			reason: "Another format should change the hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Format = modelv1alpha1.PackFormatModelKit })),
			want:   goldenModelKit,
		},
		"Pipeline": {
			reason: "Another pipeline should change the hash.",
			args:   newArtifact(withStream()),
			want:   goldenStream,
		},
		"NoSource": {
			reason: "An Artifact that is only observed should have a hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })),
			want:   goldenNoSource,
		},
		"EmptySource": {
			reason: "An empty source should not change the hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = &modelv1alpha1.Source{} })),
			want:   goldenNoSource,
		},
		"UnsetIsDefault": {
			reason: "Explicit defaults should not change the hash.",
			args: newArtifact(withModel("Qwen/Qwen3-0.6B", ""), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Format, p.Pipeline = "", ""
			})),
			want: goldenDefault,
		},
		"Target": {
			reason: "Another target should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Target = &modelv1alpha1.Target{Registry: "other.example.com", Repository: "other", Tag: "v2"}
			})),
			want: goldenDefault,
		},
		"Overwrite": {
			reason: "Another conflictPolicy should not change the hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite })),
			want:   goldenDefault,
		},
		"Pinned": {
			reason: "An explicit revisionPolicy Pinned should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.RevisionPolicy = modelv1alpha1.RevisionPinned
			})),
			want: goldenDefault,
		},
		"Follow": {
			reason: "Another revisionPolicy or followInterval should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.RevisionPolicy = modelv1alpha1.RevisionFollow
				p.Source.FollowInterval = &metav1.Duration{Duration: time.Minute}
			})),
			want: goldenDefault,
		},
		"Annotations": {
			reason: "Annotations of the manifest should change the hash, and need Stream.",
			args: newArtifact(withPipeline(""), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Target.Annotations = map[string]string{"com.example.team": "search", "com.example.tier": "1"}
			})),
			want: "dd427df393d93a87",
		},
		"NoAnnotations": {
			reason: "An empty map of annotations should not change the hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.Annotations = map[string]string{} })),
			want:   goldenDefault,
		},
		"Tag": {
			reason: "Another tag should not change the hash.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.Tag = "v2" })),
			want:   goldenDefault,
		},
		"S3": {
			reason: "A bucket, its place, its files and its licence should be in the hash.",
			args:   newArtifact(withStream(), withSource(s3Source())),
			want:   goldenS3,
		},
		"S3Access": {
			reason: "How a bucket is asked should not change the hash.",
			args: newArtifact(withStream(), withSource(s3Source()), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				s := p.Source.S3
				s.Endpoint, s.PathStyle, s.RequesterPays, s.CredentialsSecretRef, s.CertSecretRef = "https://s3.example.com", nil, false, nil, nil
			})),
			want: goldenS3,
		},
		"GCS": {
			reason: "A bucket of another cloud should be another source.",
			args:   newArtifact(withStream(), withSource(modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models", Prefix: "qwen3/v1"}})),
			want:   "f7e250106ffdc206",
		},
		"AzureBlob": {
			reason: "A container of an account should be a source.",
			args:   newArtifact(withStream(), withSource(modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "examplemodels", Container: "models", Prefix: "qwen3/v1"}})),
			want:   "272a5f1821f3af8e",
		},
		"Volume": {
			reason: "A folder of a volume should be a source.",
			args:   newArtifact(withStream(), withSource(volumeSource())),
			want:   "180eee128db3a450",
		},
		"VolumeKit": {
			reason: "A folder of a volume should be packed by kit if nothing else is asked for.",
			args:   newArtifact(withPipeline(""), withSource(volumeSource())),
			want:   "b0c9ecf49cfe6efa",
		},
		"HTTP": {
			reason: "The order and the sizes of items should not change the hash.",
			args:   newArtifact(withStream(), withSource(httpSource(ptr.To[int64](1), "a", "b"))),
			want:   goldenHTTP,
		},
		"HTTPOrder": {
			reason: "The order and the sizes of items should not change the hash.",
			args:   newArtifact(withStream(), withSource(httpSource(nil, "b", "a"))),
			want:   goldenHTTP,
		},
		"Storage": {
			reason: "Other storage settings should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("fast")}
			})),
			want: goldenDefault,
		},
		"Job": {
			reason: "Other job settings should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Job = &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](1), Labels: map[string]string{"a": "b"}}
			})),
			want: goldenDefault,
		},
		"Secrets": {
			reason: "Other credentials should not change the hash.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "k"}
				p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "push"}
			})),
			want: goldenDefault,
		},
		"Metadata": {
			reason: "Other metadata should not change the hash.",
			args: newArtifact(withName("other"), withUID(otherUID), func(a *modelv1alpha1.Artifact) {
				a.SetLabels(map[string]string{"a": "b"})
				a.SetAnnotations(map[string]string{AnnotationRun: "7", AnnotationRunHash: "old"})
				a.SetGeneration(7)
			}),
			want: goldenDefault,
		},
		"Effective": {
			reason: "Settings of a ProviderConfig should not change the hash.",
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
		"Nothing":   {reason: "An object without annotations should have the zero Run.", want: Run{}},
		"RoundTrip": {reason: "A Run's annotations should be read back.", args: Run{Hash: "abc", Number: 7}.Annotations(), want: Run{Hash: "abc", Number: 7}},
		"NoNumber":  {reason: "A run number that is not a number should be 0.", args: map[string]string{AnnotationRunHash: "abc", AnnotationRun: "x"}, want: Run{Hash: "abc"}},
		"TooLarge":  {reason: "A run number that is too large should be 0.", args: map[string]string{AnnotationRun: "99999999999999999999"}, want: Run{}},
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
			reason: "A complete target should be used.",
			args:   newArtifact(),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:v1"},
		},
		"DefaultTag": {
			reason: "The tag should default to latest.",
			args:   newArtifact(target(modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/qwen3"})),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:latest"},
		},
		"DefaultRegistry": {
			reason: "The registry should default to the ProviderConfig's.",
			args:   newArtifact(target(modelv1alpha1.Target{Repository: "models/qwen3", Tag: "v1"}), effective),
			want:   want{external: "config.example.com:5000/models/qwen3", reference: "config.example.com:5000/models/qwen3:v1"},
		},
		"TargetWins": {
			reason: "The target's registry should take precedence over the ProviderConfig's.",
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

func TestCheckRun(t *testing.T) {
	identity := withEffective(modelv1alpha1.Effective{HubIdentity: "models-bot"})
	cloud := withEffective(modelv1alpha1.Effective{RegistryIdentity: "aws"})
	parallel := withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Job = &v1alpha1.JobSettings{ParallelLayers: ptr.To[int32](8)}
	})
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   outcome.Reason
	}{
		"Kit":           {reason: "Kit can use a stored token, or none.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit))},
		"Default":       {reason: "The default is the pipeline that can use an identity.", args: newArtifact(withPipeline(""), identity)},
		"Explicit":      {reason: "Kit should be refused where an identity is used.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), identity), want: outcome.Unsupported},
		"CloudDefault":  {reason: "The default is the pipeline that can use a cloud's identity.", args: newArtifact(withPipeline(""), cloud)},
		"CloudExplicit": {reason: "Kit should be refused where a push may outlive its password.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), cloud), want: outcome.Unsupported},
		"OtherUses":     {reason: "A source that is not on the Hub uses no identity.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), withOCI(testReference), identity)},
		"Parallel":      {reason: "Kit should be refused where only Stream can do what is asked.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), parallel), want: outcome.Unsupported},
		"ConfigParallel": {
			reason: "What a config sets for its Artifacts of Stream should not keep another from being built by Kit.",
			args:   newArtifact(withPipeline(modelv1alpha1.PipelineKit), withEffective(modelv1alpha1.Effective{Job: &v1alpha1.JobSettings{ParallelLayers: ptr.To[int32](8)}})),
		},
		"MadeByKit": {
			reason: "Content of Kit should not be rebuilt by Stream for a setting alone, and the setting not be ignored.",
			args: newArtifact(withPipeline(""), parallel, func(a *modelv1alpha1.Artifact) {
				a.Status.AtProvider.Digest = testDigest
				a.Status.AtProvider.RunHash = RunHash(newArtifact(withPipeline(modelv1alpha1.PipelineKit)))
			}),
			want: outcome.Unsupported,
		},
		"Pods":   {reason: "Kit should be refused where several Pods are asked for.", args: newArtifact(withShares(2), withPipeline(modelv1alpha1.PipelineKit)), want: outcome.Unsupported},
		"OnePod": {reason: "Kit runs in one Pod.", args: newArtifact(withShares(1), withPipeline(modelv1alpha1.PipelineKit))},
		"Volume": {reason: "A run should mount a volume of its own namespace.", args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), withSource(volumeSource()))},
		"Elsewhere": {
			reason: "A run in another namespace cannot mount the Artifact's volume.",
			args:   newArtifact(withStream(), withSource(volumeSource()), withEffective(modelv1alpha1.Effective{RunNamespace: "runs"})),
			want:   outcome.Unsupported,
		},
		"OwnToken": {
			reason: "An Artifact's own token should be used instead of an identity.",
			args: newArtifact(withPipeline(modelv1alpha1.PipelineKit), identity, withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf"}
			})),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckRun(tc.args)
			if err != nil && outcome.ReasonOf(err) != tc.want || (err == nil) != (tc.want == "") {
				t.Errorf("\n%s\nCheckRun(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
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
	identity := withEffective(modelv1alpha1.Effective{HubIdentity: "models-bot"})
	jobSettings := func(s v1alpha1.JobSettings) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = &s })
	}
	ownToken := withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf"}
	})
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
		"Default":       {reason: "The pipeline should default to Kit for what kit supports.", args: newArtifact(unset), want: kit},
		"Spec":          {reason: "The spec's pipeline should take precedence over the ProviderConfig's.", args: newArtifact(withPipeline(kit), config(stream)), want: kit},
		"Config":        {reason: "The ProviderConfig's pipeline should take precedence over the default.", args: newArtifact(unset, config(stream)), want: stream},
		"ConfigKit":     {reason: "A ProviderConfig's Kit should be used.", args: newArtifact(unset, config(kit)), want: kit},
		"ModelKit":      {reason: "The pipeline should default to Kit for a ModelKit.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatModelKit)), want: kit},
		"NoSource":      {reason: "An Artifact without a source should have the default.", args: newArtifact(unset, withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })), want: kit},
		"Image":         {reason: "The pipeline should default to Stream for an Image.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatImage)), want: stream},
		"ImageOfKit":    {reason: "A ProviderConfig's Kit should be ignored for what only Stream supports.", args: newArtifact(unset, withFormat(modelv1alpha1.PackFormatImage), config(kit)), want: stream},
		"ExplicitImage": {reason: "An explicit Kit should be kept; its run reports why it cannot work.", args: newArtifact(withPipeline(kit), withFormat(modelv1alpha1.PackFormatImage)), want: kit},
		"Dataset":       {reason: "The pipeline should default to Stream for a dataset.", args: newArtifact(unset, withDataset("openai/gsm8k")), want: stream},
		"Files":         {reason: "The pipeline should default to Stream for selected files.", args: newArtifact(unset, withFiles(nil, []string{"*.onnx"})), want: stream},
		"NoFiles":       {reason: "A filter without patterns should not change the default.", args: newArtifact(unset, withFiles(nil, nil)), want: kit},
		"OCI":           {reason: "The pipeline should default to Stream for source.oci.", args: newArtifact(unset, withOCI(testReference)), want: stream},
		"BareModel":     {reason: "The pipeline should default to Stream for a model without an organisation.", args: newArtifact(unset, withModel("gpt2", "")), want: stream},
		"OtherHub":      {reason: "The pipeline should default to Stream for another Hub.", args: newArtifact(unset, hub("https://hub.example.com")), want: stream},
		"Identity":      {reason: "The pipeline should default to Stream for an identity at the Hub.", args: newArtifact(unset, identity), want: stream},
		"OwnToken":      {reason: "An identity that is not used should not change the default.", args: newArtifact(unset, identity, ownToken), want: kit},
		"Parallel":      {reason: "The pipeline should default to Stream for layers side by side.", args: newArtifact(unset, jobSettings(v1alpha1.JobSettings{ParallelLayers: ptr.To[int32](8)})), want: stream},
		"Buffers":       {reason: "The pipeline should default to Stream for a size of buffers.", args: newArtifact(unset, jobSettings(v1alpha1.JobSettings{BufferSize: resource.NewQuantity(1<<30, resource.BinarySI)})), want: stream},
		"Pods":          {reason: "The pipeline should default to Stream for several Pods.", args: newArtifact(unset, jobSettings(v1alpha1.JobSettings{Parallelism: 2})), want: stream},
		"OnePod":        {reason: "One Pod should not change the default.", args: newArtifact(unset, jobSettings(v1alpha1.JobSettings{Parallelism: 1})), want: kit},
		"Deadline":      {reason: "Other job settings should not change the default.", args: newArtifact(unset, jobSettings(v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](60)})), want: kit},
		"PublicHub":     {reason: "An explicit public Hub should not change the default.", args: newArtifact(unset, hub("https://huggingface.co/")), want: kit},

		"Made":         {reason: "A change of the ProviderConfig should not rebuild an artifact.", args: newArtifact(unset, config(stream), made(kit)), want: kit},
		"MadeByStream": {reason: "An artifact should keep the pipeline of an earlier ProviderConfig.", args: newArtifact(unset, made(stream)), want: stream},
		"MadeBeforeMirror": {
			reason: "Another Hub in the ProviderConfig should not rebuild an artifact.",
			args:   newArtifact(unset, hub("https://hub.example.com"), made(kit)),
			want:   kit,
		},
		"MadeOtherwise": {reason: "A changed spec should be built by the ProviderConfig's current pipeline.", args: newArtifact(unset, config(stream), made(kit), withModel("Qwen/Qwen3-1.7B", "main")), want: stream},
		"Explicit":      {reason: "An explicit pipeline should rebuild an artifact of another one.", args: newArtifact(withPipeline(stream), made(kit)), want: stream},
		"Staged": {
			reason: "Staged content should keep its pipeline.",
			args: newArtifact(unset, config(stream), status(func(s *modelv1alpha1.ArtifactObservation) {
				s.Staged = &modelv1alpha1.StagedArtifact{Digest: testDigest, RunHash: hashOf(kit)}
			})),
			want: kit,
		},
		"Lost": {
			reason: "A recorded run hash without a digest should be ignored.",
			args:   newArtifact(unset, config(stream), status(func(s *modelv1alpha1.ArtifactObservation) { s.RunHash = hashOf(kit) })),
			want:   stream,
		},
		"Running": {reason: "A change of the ProviderConfig should not stop a run.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhaseRunning)), want: kit},
		"Pending": {reason: "A run that has not started should get the ProviderConfig's current pipeline.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhasePending)), want: stream},
		"Failed":  {reason: "A failed run should be retried by the ProviderConfig's current pipeline.", args: newArtifact(unset, config(stream), running(modelv1alpha1.PhaseFailed)), want: stream},
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
			reason: "A transient failure should be retried after the interval.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 30 * time.Second, again: true},
		},
		"Third": {
			reason: "The wait should double with each failure.",
			args:   args{failures: 3, failure: outcome.Failure{Reason: outcome.Evicted}},
			want:   want{wait: 2 * time.Minute, again: true},
		},
		"Last": {
			reason: "The limit should default to 5 retries.",
			args:   args{failures: 5, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 8 * time.Minute, again: true},
		},
		"Limit": {
			reason: "There should be no retry after the limit.",
			args:   args{failures: 6, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Never": {
			reason: "A limit of 0 should disable retries.",
			args:   args{policy: policy(0, time.Second), failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Longest": {
			reason: "The backoff should be an hour at most.",
			args:   args{policy: policy(100, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: time.Hour, again: true},
		},
		"Asked": {
			reason: "A server's longer wait should be respected.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 300}},
			want:   want{wait: 5 * time.Minute, again: true},
		},
		"AskedForEver": {
			reason: "A server's wait should be limited.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 1 << 40}},
			want:   want{wait: time.Hour, again: true},
		},
		"NotStarted": {
			reason: "A run that did not start should be retried without a limit, every hour at least.",
			args:   args{policy: policy(0, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.NotStarted}},
			want:   want{wait: time.Hour, again: true},
		},
		"DoesNotPass": {
			reason: "A permanent failure should not be retried.",
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
