package api

import (
	"maps"
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// The tables of this file have the fields that have no effect beside another one, or
// without it: all of them are refused, and none is ignored. What a config sets is a default
// for its Artifacts, and no error where an Artifact does not use it.

// sayNoWorkspace is what is said of a workspace that no run would have.
var sayNoWorkspace = []string{"pipeline Stream has no workspace", "remove storage, or write pipeline: Kit"}

// sayStreamOnly is what is said of settings that kit cannot be given.
var sayStreamOnly = []string{"pipeline Kit has no job.parallelLayers and no job.bufferSize", "leave pipeline out, or write pipeline: Stream"}

func TestArtifactCombinations(t *testing.T) {
	const source, target, storage = "forProvider.source", "forProvider.target", "forProvider.storage"
	hub, workspace := source+".huggingFace", map[string]any{"size": "200Gi"}
	with := func(more fields) fields {
		out := fields{storage: workspace}
		maps.Copy(out, more)
		return out
	}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"StorageKit":     {reason: "Kit has a workspace.", args: with(fields{"forProvider.pipeline": "Kit"})},
		"StorageUnset":   {reason: "Kit is the default, or the config's default is not the Artifact's error.", args: with(nil)},
		"StorageStream":  {reason: "Stream has no workspace.", args: with(fields{"forProvider.pipeline": "Stream"}), want: sayNoWorkspace},
		"StorageImage":   {reason: "Only Stream makes an image.", args: with(fields{"forProvider.format": "Image"}), want: sayNoWorkspace},
		"StorageDataset": {reason: "Only Stream reads a dataset.", args: with(fields{hub: map[string]any{"dataset": "openai/gsm8k"}}), want: sayNoWorkspace},
		"StorageFiles":   {reason: "Only Stream reads some files of a Hub.", args: with(fields{source + ".files": map[string]any{"include": []any{"*.json"}}}), want: sayNoWorkspace},
		"StorageBare":    {reason: "Only Stream reads a model without an organisation.", args: with(fields{hub: map[string]any{"model": "gpt2"}}), want: sayNoWorkspace},
		"StorageAnnotated": {
			reason: "Only Stream writes annotations.",
			args:   with(fields{target + ".annotations": map[string]any{"com.example.team": "search"}}), want: sayNoWorkspace,
		},
		"StorageNoAnnotation": {reason: "Kit writes no annotations.", args: with(fields{target + ".annotations": map[string]any{}})},

		"ParallelKit":    {reason: "Kit moves one file after the other.", args: fields{"forProvider.pipeline": "Kit", "forProvider.job.parallelLayers": int64(8)}, want: sayStreamOnly},
		"BuffersKit":     {reason: "Kit's buffers are its own.", args: fields{"forProvider.pipeline": "Kit", "forProvider.job.bufferSize": "1Gi"}, want: sayStreamOnly},
		"PodsKit":        {reason: "Kit runs in one Pod.", args: fields{"forProvider.pipeline": "Kit", "forProvider.job.parallelism": int64(2)}, want: []string{"pipeline Kit runs in one Pod", "write pipeline: Stream"}},
		"OnePodKit":      {reason: "Kit may be said to run in one Pod.", args: fields{"forProvider.pipeline": "Kit", "forProvider.job.parallelism": int64(1)}},
		"PodsUnset":      {reason: "Stream is the default for what only Stream can do.", args: fields{"forProvider.job.parallelism": int64(2)}},
		"PodsStorage":    {reason: "What Stream builds has no workspace.", args: with(fields{"forProvider.job": map[string]any{"parallelism": int64(2)}}), want: sayNoWorkspace},
		"OnePodStorage":  {reason: "Kit has a workspace for its one Pod.", args: with(fields{"forProvider.job": map[string]any{"parallelism": int64(1)}})},
		"ParallelStream": {reason: "Stream transfers layers side by side.", args: fields{"forProvider.pipeline": "Stream", "forProvider.job": map[string]any{"parallelLayers": int64(64), "bufferSize": "16Mi"}}},
		"ParallelUnset":  {reason: "Stream is the default for what only Stream can do.", args: fields{"forProvider.job.parallelLayers": int64(1)}},
		"ParallelStorage": {
			reason: "What Stream builds has no workspace.", args: with(fields{"forProvider.job": map[string]any{"bufferSize": "1Gi"}}), want: sayNoWorkspace,
		},

		"FollowInterval": {
			reason: "What is pinned is not checked.", args: fields{source + ".followInterval": "1h"},
			want: []string{"write revisionPolicy: Follow, or remove followInterval"},
		},
		"FollowCommit":   {reason: "A rollback names a commit for a while, of which following says nothing new.", args: fields{hub + ".revision": "c1899de289a04d12100db370d81485cdf75e47ca", source + ".revisionPolicy": "Follow"}},
		"FollowExpected": {reason: "A digest holds a followed branch until it is removed.", args: fields{"forProvider.expectedDigest": zeros, source + ".revisionPolicy": "Follow"}},
		"RetryInterval":  {reason: "Runs that do not start are retried without a limit.", args: fields{"forProvider.retry": map[string]any{"limit": int64(0), "interval": "1m"}}},
		"Date":           {reason: "A commit of a Hub has a day.", args: fields{target + ".additionalTags": []any{"v1-{date}"}}},
	})
	for name, spec := range map[string]string{"S3": fromS3, "GCS": fromGCS, "Azure": fromAzure, "Volume": fromVolume} {
		t.Run(name, func(t *testing.T) {
			cases := map[string]rule{
				"Date": {
					reason: "What is not of a Hub or a registry has no day.", args: fields{target + ".additionalTags": []any{"v1-{date}"}},
					want: []string{"{date} is not known of buckets, volumes and HTTP servers", "write {commit} or {commitShort}"},
				},
				"Commit": {reason: "A listing has a hash.", args: fields{target + ".additionalTags": []any{"v1-{commitShort}"}}},
			}
			if name != "Volume" {
				cases["Storage"] = rule{reason: "Only Stream reads a bucket.", args: with(nil), want: sayNoWorkspace}
			} else {
				cases["Storage"] = rule{reason: "Kit packs a volume.", args: with(nil)}
			}
			checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, spec, cases)
		})
	}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, streamed, map[string]rule{
		"StorageOCI": {reason: "Only Stream reads a registry.", args: with(nil), want: sayNoWorkspace},
		"Referrers":  {reason: "What refers to an artifact is copied with it.", args: fields{source + ".oci.referrers": "Copy"}},
		"ReferrersAnnotated": {
			reason: "Annotations change the digest that is referred to.",
			args:   fields{source + ".oci.referrers": "Copy", target + ".annotations": map[string]any{"com.example.team": "search"}},
			want:   []string{"remove referrers or target.annotations"},
		},
	})
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromS3, map[string]rule{
		"RequesterPays": {reason: "An account may pay.", args: fields{source + ".s3.requesterPays": true, source + ".s3.credentialsSecretRef": map[string]any{"name": "a"}}},
		"NobodyPays":    {reason: "Without an account nobody pays.", args: fields{source + ".s3.requesterPays": true}, want: []string{"nobody pays for anonymous requests", "write credentialsSecretRef"}},
		"NobodyMust":    {reason: "Nobody need pay.", args: fields{source + ".s3.requesterPays": false}},
	})
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromGCS, map[string]rule{
		"UserProject": {reason: "A project may be billed.", args: fields{source + ".gcs.userProject": "example-models", source + ".gcs.credentialsSecretRef": map[string]any{"name": "a"}}},
		"NobodyPays":  {reason: "Without an account no project is billed.", args: fields{source + ".gcs.userProject": "example-models"}, want: []string{"no project is billed for anonymous requests", "write credentialsSecretRef"}},
	})
}

// reservedRules are the cases of labels and annotations that the provider sets itself.
func reservedRules(job string) map[string]rule {
	out := map[string]rule{
		"OwnAnnotation": {
			reason: "An annotation of the provider's would be replaced.", args: fields{job + ".annotations": map[string]any{"model.kitops.m.crossplane.io/run": "7"}},
			want: []string{job + ".annotations", "write a key of your own, such as example.com/note"},
		},
		"PartOf": {reason: "A well-known label that the provider does not set is free.", args: fields{job + ".labels": map[string]any{"app.kubernetes.io/part-of": "search"}}},
	}
	for _, key := range []string{
		"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "app.kubernetes.io/managed-by",
		"app.kubernetes.io/version", "model.kitops.m.crossplane.io/artifact-uid",
	} {
		out["Label "+key] = rule{
			reason: "A label of the provider's would be replaced.", args: fields{job + ".labels": map[string]any{key: "x"}},
			want: []string{job + ".labels", "write a key of your own, such as team"},
		}
	}
	return out
}

func TestReservedMetadata(t *testing.T) {
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, reservedRules("forProvider.job"))
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) { checkCreate(t, kind.gvk, minimalConfig, reservedRules("job")) })
	}
}

func TestConfigCombinations(t *testing.T) {
	env := func(name string) fields {
		return fields{"job.env": []any{map[string]any{"name": name, "value": "x"}}}
	}
	keyless := func(fulcio, timestamp string) fields {
		return fields{"attestation.keyless": map[string]any{
			"fulcioURL": fulcio, "timestampURL": timestamp, "plainHTTP": true, "caBundle": "x",
			"identity":             map[string]any{"issuer": "https://kubernetes.default.svc", "subject": "a"},
			"trustedRootSecretRef": map[string]any{"namespace": "keys", "name": "sigstore"},
		}}
	}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"StorageStream": {reason: "A default is for Artifacts with another pipeline than the config's.", args: fields{"job.pipeline": "Stream", "job.storage": map[string]any{"size": "200Gi"}, "job.kitImage": "example.com/kit"}},
		"MaxResources": {reason: "Tenants may set resources unless a list leaves them out.", args: fields{"policy.tenants": map[string]any{
			"maxResources": map[string]any{"cpu": "4"},
		}}},
		"MaxOfNothing": {
			reason: "A limit for what nobody may set limits nothing.",
			args:   fields{"policy.tenants": map[string]any{"allow": []any{"tolerations"}, "maxResources": map[string]any{"cpu": "4"}}},
			want:   []string{"policy.tenants", "write resources in allow, or remove maxResources"},
		},
		"EnvProxy":    {reason: "A run may have variables.", args: env("HTTPS_PROXY")},
		"EnvProgress": {reason: "A variable of the provider's would be replaced.", args: env("KITOPS_PROGRESS_ADDRESS"), want: []string{"job.env", "remove them from env"}},
		"EnvMount":    {reason: "A variable of the provider's would be replaced.", args: env("KITOPS_MOUNT_FROM"), want: []string{"job.env", "remove them from env"}},
		"EnvToken":    {reason: "A token is a file.", args: env("HF_TOKEN"), want: []string{"job.env", "write huggingFace.tokenSecretRef"}},
		"CABundle":    {reason: "One service with TLS is enough.", args: keyless("http://fulcio.sigstore", "https://tsa.example.com")},
		"CAOfNothing": {reason: "Without TLS there is no authority.", args: keyless("http://fulcio.sigstore", "http://tsa.sigstore"), want: []string{"attestation.keyless", "write https://, or remove caBundle"}},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"PodsKit":       {reason: "A default is for Artifacts with another pipeline than the config's.", args: fields{"job.pipeline": "Kit", "job.parallelism": int64(8)}},
		"ParallelKit":   {reason: "A default is for Artifacts with another pipeline than the config's.", args: fields{"job.pipeline": "Kit", "job.parallelLayers": int64(8), "job.bufferSize": "1Gi"}},
		"StorageStream": {reason: "A default is for Artifacts with another pipeline than the config's.", args: fields{"job.pipeline": "Stream", "job.storage": map[string]any{"size": "200Gi"}}},
	})
}
