package artifact

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// update has this package's tests write their golden files:
// go test ./internal/artifact -run TestManifests -update.
var update = flag.Bool("update", false, "write the golden files in testdata")

// A manifestCase is an Artifact whose manifests are kept in testdata/manifests.
type manifestCase struct {
	reason string
	args   *modelv1alpha1.Artifact
}

// manifestCases are Artifacts of each source, format, pipeline and kind of
// credentials, and each job setting.
func manifestCases() map[string]manifestCase {
	const stream = modelv1alpha1.PipelineStream
	return map[string]manifestCase{
		"kit": {
			reason: "The Kit pipeline packs a model as a ModelPack.",
			args:   newArtifact(),
		},
		"kit-modelkit": {
			reason: "The Kit pipeline packs a model as a ModelKit.",
			args:   newArtifact(withFormat(modelv1alpha1.PackFormatModelKit)),
		},
		"kit-defaults": {
			reason: "An Artifact may leave the tag, the revision, the format and the registry to the defaults.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.Revision, p.Target.Registry, p.Target.Tag, p.Format, p.Pipeline = "", "", "", "", ""
			}), withEffective(modelv1alpha1.Effective{Registry: "config.example.com:5000", PlainHTTP: true})),
		},
		"kit-everything": {
			reason: "The Kit pipeline takes all that an Artifact and its ProviderConfig can set.",
			args:   newArtifact(withEverything(), withStorage("200Gi", "fast")),
		},
		"kit-pod-settings": {
			reason: "An administrator may choose the Pod's runtime, scheduler, spread, user and groups, and how long Jobs are kept.",
			args: newArtifact(withEffective(modelv1alpha1.Effective{Pod: v1alpha1.PodSettings{
				RuntimeClassName:        "gvisor",
				SchedulerName:           "volcano",
				TTLSecondsAfterFinished: ptr.To[int32](86400),
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
					{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway},
					{MaxSkew: 2, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "research"}}},
				},
				PodSecurityContext: &v1alpha1.PodSecurityContext{
					RunAsUser: ptr.To[int64](2000), RunAsGroup: ptr.To[int64](0), FSGroup: ptr.To[int64](2001), SupplementalGroups: []int64{3000},
					FSGroupChangePolicy: corev1.FSGroupChangeAlways, SELinuxOptions: &corev1.SELinuxOptions{Level: "s0:c123,c456"},
				},
			}})),
		},
		"kit-assigned-user": {
			reason: "A cluster may assign the Pod's user and groups, as OpenShift does.",
			args: newArtifact(withConfigCredentials(), func(a *modelv1alpha1.Artifact) {
				a.Effective.Pod.PodSecurityContext = &v1alpha1.PodSecurityContext{}
			}),
		},
		"kit-config-credentials": {
			reason: "A run uses the ProviderConfig's credentials, copied into its namespace.",
			args:   newArtifact(withConfigCredentials()),
		},
		"kit-second-run": {
			reason: "A later run reads the commit of the first and names what it replaces.",
			args:   newArtifact(withMade(testCommit), withPushed(testDigest), func(a *modelv1alpha1.Artifact) { a.SetAnnotations(Run{Number: 3}.Annotations()) }),
		},
		"kit-long-name": {
			reason: "A name that is longer than a label may be is shortened.",
			args:   newArtifact(withName(strings.Repeat("qwen3-", 40) + "end")),
		},
		"stream": {
			reason: "The Stream pipeline packs a model as a ModelPack.",
			args:   newArtifact(withStream()),
		},
		"stream-shares": {
			reason: "Several Pods transfer a share of the model each, in an Indexed Job whose Pods fail and are replaced alone.",
			args:   newArtifact(withShares(3), withName("qwen3-0.6b")),
		},
		"stream-shares-retry": {
			reason: "Shares that are not done are transferred again without the others.",
			args:   newArtifact(withShares(3), withSharesDone(3, 1), withRun(Run{Number: 2})),
		},
		"stream-shares-last": {
			reason: "One Pod completes the run whose shares are done.",
			args:   newArtifact(withShares(3), withSharesDone(3, 0, 1, 2)),
		},
		"stream-policy": {
			reason: "A run gets the policies that apply, as one argument that is not expanded.",
			args:   newArtifact(withStream(), withEffective(modelv1alpha1.Effective{Policy: `[{"of":"ClusterProviderConfig \"a\"","models":{"deny":["$(HF_TOKEN)"]}}]`})),
		},
		"stream-modelkit": {
			reason: "The Stream pipeline packs a model as a ModelKit.",
			args:   newArtifact(withStream(), withFormat(modelv1alpha1.PackFormatModelKit)),
		},
		"stream-image": {
			reason: "The Stream pipeline packs a model as an image.",
			args:   newArtifact(withStream(), withFormat(modelv1alpha1.PackFormatImage)),
		},
		"stream-dataset-files": {
			reason: "The Stream pipeline reads chosen files of a dataset.",
			args:   newArtifact(withStream(), withDataset("openai/gsm8k"), withFiles([]string{"main/", "*.json"}, []string{"$(HF_TOKEN)"})),
		},
		"stream-identity": {
			reason: "A run gets a token of its service account for the Hub, beside the authorities of that.",
			args: newArtifact(withStream(), withEffective(modelv1alpha1.Effective{
				HubIdentity: "models-bot", HubEndpoint: "https://hub.example.com/", HubCA: SecretKey("hub", KeyCA), ServiceAccountName: "models",
			})),
		},
		"stream-follow": {
			reason: "A followed revision is read by its name.",
			args: newArtifact(withStream(), withMade(testCommit), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.RevisionPolicy = modelv1alpha1.RevisionFollow
			})),
		},
		"stream-everything": {
			reason: "The Stream pipeline takes all that an Artifact and its ProviderConfig can set.",
			args:   newArtifact(withStream(), withEverything()),
		},
		"stream-annotations": {
			reason: "What asks for annotations is built by Stream, with nothing of them expanded.",
			args: newArtifact(withPipeline(""), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Target.Annotations = map[string]string{"com.example.team": "search", "com.example.note": "a=b: $(HF_TOKEN)"}
			})),
		},
		"stream-oci": {
			reason: "The Stream pipeline reads an artifact of another registry.",
			args:   newArtifact(withStream(), withOCI(testReference)),
		},
		"stream-oci-credentials": {
			reason: "An Artifact may bring credentials for the registry that it reads from.",
			args:   newArtifact(withStream(), withEverything(), withOCI(testReference), withOwnSource()),
		},
		"stream-oci-config-credentials": {
			reason: "A ProviderConfig's registry is read with the ProviderConfig's credentials.",
			args: newArtifact(withStream(), withConfigCredentials(), withOCI(testReference), func(a *modelv1alpha1.Artifact) {
				a.Effective.Source = &modelv1alpha1.SourceAccess{
					PlainHTTP: true, Credentials: SecretKey(CopiedSecret, "source"), CA: SecretKey("source", KeyCA),
					Certificate: SecretKey("source", corev1.TLSCertKey), Key: SecretKey("source", corev1.TLSPrivateKeyKey),
				}
			}),
		},
		"stream-oci-verify-key": {
			reason: "A source may have to be signed with a key of the spec.",
			args: newArtifact(withStream(), withOCI(testReference, func(s *modelv1alpha1.OCISource) {
				s.Verify = &modelv1alpha1.Verification{
					Key:           "-----BEGIN PUBLIC KEY-----\n$(HF_TOKEN)\n-----END PUBLIC KEY-----\n",
					PredicateType: "https://slsa.dev/provenance/v1",
				}
			})),
		},
		"stream-oci-verify-secret": {
			reason: "A source may have to be signed with a key in a Secret.",
			args: newArtifact(withStream(), withOCI(testReference, func(s *modelv1alpha1.OCISource) {
				s.Verify = &modelv1alpha1.Verification{SecretRef: &modelv1alpha1.PublicKeySelector{Name: "upstream", Key: "upstream.pub"}}
			})),
		},
		"stream-oci-verify-configmap": {
			reason: "A source may have to be signed with a key in a ConfigMap.",
			args:   newArtifact(withStream(), withOCI(testReference, withOwnVerify)),
		},
		"stream-oci-verify-identity": {
			reason: "A source may have to be signed by an identity.",
			args: newArtifact(withStream(), withOCI(testReference, func(s *modelv1alpha1.OCISource) {
				s.Verify = &modelv1alpha1.Verification{
					MatchOIDCIdentity:       []modelv1alpha1.OIDCIdentity{{Issuer: "https://accounts.example.com", Subject: "^.*@example\\.com$"}, {Issuer: "https://example.com", Subject: "$(HF_TOKEN)"}},
					TrustedRootConfigMapRef: &modelv1alpha1.TrustedRootSelector{Name: "sigstore"},
				}
			})),
		},
		"stream-oci-referrers": {
			reason: "An artifact may be copied with what refers to it.",
			args:   newArtifact(withStream(), withOCI(testReference, func(s *modelv1alpha1.OCISource) { s.Referrers = modelv1alpha1.ReferrersCopy })),
		},
		"stream-oci-second-run": {
			reason: "A later run reads the digest that the first read by its tag.",
			args:   newArtifact(withStream(), withOCI(testReference), withMade(testDigest), withPushed(testDigest)),
		},
		"stream-s3": {
			reason: "The Stream pipeline reads a bucket with the Artifact's credentials, and nothing of the Hub.",
			args:   newArtifact(withStream(), withEverything(), withSource(s3Source())),
		},
		"stream-s3-second-run": {
			reason: "A later run reads what the first did, with copied credentials in a namespace of the administrator's.",
			args: newArtifact(withPipeline(""), withSource(s3Source()), withMade(testDigest), withPushed(testDigest), withEffective(modelv1alpha1.Effective{
				RunNamespace: "runs", CopiedSecretName: "qwen3-credentials-x",
			})),
		},
		"stream-gcs": {
			reason: "The Stream pipeline reads a public bucket of Google.",
			args:   newArtifact(withStream(), withSource(modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models", UserProject: "example"}})),
		},
		"stream-azure-blob": {
			reason: "The Stream pipeline reads a container of Azure.",
			args: newArtifact(withStream(), withSource(modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{
				Account: "examplemodels", Container: "models", Prefix: "qwen3", CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "azure"},
			}})),
		},
		"stream-volume": {
			reason: "The Stream pipeline reads a folder of a volume, which is mounted read-only.",
			args:   newArtifact(withPipeline(modelv1alpha1.PipelineStream), withSource(volumeSource())),
		},
		"kit-volume": {
			reason: "The Kit pipeline packs a folder of a volume.",
			args:   newArtifact(withSource(volumeSource())),
		},
		"stream-http": {
			reason: "The Stream pipeline reads files of an HTTP server, in the order of their paths.",
			args: newArtifact(withStream(), withSource(modelv1alpha1.Source{HTTP: &modelv1alpha1.HTTPSource{
				Items: []modelv1alpha1.HTTPItem{
					{URL: "https://models.example.com/qwen3/$(HF_TOKEN).gguf", Path: "b.gguf", SHA256: strings.Repeat("0", 64), Size: ptr.To[int64](0)},
					{URL: "https://models.example.com/qwen3/config.json", Path: "a.json", SHA256: strings.Repeat("1", 64)},
				},
				CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "http"},
			}})),
		},
		"stream-oci-follow": {
			reason: "A followed tag is read by its name.",
			args: newArtifact(withStream(), withOCI(testReference), withMade(testDigest), withPushed(testDigest), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.RevisionPolicy = modelv1alpha1.RevisionFollow
			})),
		},
		"stream-job": {
			reason: "The Artifact's job settings win over its ProviderConfig's; labels and annotations are merged.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Pipeline, p.Job = stream, fullJobSettings("own")
			}), withEffective(modelv1alpha1.Effective{Job: fullJobSettings("config"), ConfigHash: "0123456789abcdef"})),
		},
		"stream-mount-from": {
			reason: "A run is told which artifacts of its registry may have the same blobs.",
			args: newArtifact(withStream(), withEffective(modelv1alpha1.Effective{
				MountFrom: []string{"models/one@" + testDigest, "models/$(two)@" + testDigest},
			})),
		},
		"bare": {
			reason: "An Artifact that is only observed has no source and no target.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { *p = modelv1alpha1.ArtifactParameters{} })),
		},
	}
}

// withSource sets the source.
func withSource(s modelv1alpha1.Source) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = s.DeepCopy() })
}

// s3Source returns a bucket with all that it may have.
func s3Source() modelv1alpha1.Source {
	return modelv1alpha1.Source{
		S3: &modelv1alpha1.S3Source{
			Bucket: "models", Prefix: "qwen3/v1", Region: "eu-central-1", Endpoint: "https://s3.example.com/", PathStyle: ptr.To(false), RequesterPays: true,
			CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "s3"}, CertSecretRef: &xpv2.LocalSecretReference{Name: "s3-ca"},
		},
		Files: &modelv1alpha1.FileFilter{Include: []string{"*.json"}}, License: "MIT",
	}
}

// volumeSource returns a folder of a volume.
func volumeSource() modelv1alpha1.Source {
	return modelv1alpha1.Source{PersistentVolumeClaim: &modelv1alpha1.PersistentVolumeClaimSource{ClaimName: "training-output", Path: "checkpoints/last"}}
}

// httpSource returns files of an HTTP server with these names.
func httpSource(size *int64, names ...string) modelv1alpha1.Source {
	s := &modelv1alpha1.HTTPSource{}
	for _, name := range names {
		s.Items = append(s.Items, modelv1alpha1.HTTPItem{URL: "https://models.example.com/" + name, Path: name, SHA256: strings.Repeat("0", 64), Size: size})
	}
	return modelv1alpha1.Source{HTTP: s}
}

// withStorage sets the workspace's size and class.
func withStorage(size, class string) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Storage = &v1alpha1.StorageSettings{Size: ptr.To(resource.MustParse(size)), StorageClassName: ptr.To(class)}
	})
}

// withPushed records that the Artifact pushed this digest.
func withPushed(digest string) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Digest = digest }
}

// withConfigCredentials sets all credentials that a ProviderConfig can have, as
// a copy in the Artifact's namespace.
func withConfigCredentials() artifactModifier {
	return withEffective(modelv1alpha1.Effective{
		CopiedSecretName:    "qwen3-credentials-x",
		RegistryCredentials: SecretKey(CopiedSecret, corev1.DockerConfigJsonKey),
		RegistryCA:          SecretKey(CopiedSecret, KeyCA),
		RegistryCertificate: SecretKey(CopiedSecret, corev1.TLSCertKey),
		RegistryKey:         SecretKey(CopiedSecret, corev1.TLSPrivateKeyKey),
		HubToken:            SecretKey(CopiedSecret, DefaultTokenKey),
		HubCA:               SecretKey(CopiedSecret, "hub-ca.crt"),
	})
}

// fullJobSettings returns job settings of which each field names who set it.
func fullJobSettings(by string) *v1alpha1.JobSettings {
	return &v1alpha1.JobSettings{
		Resources:             &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}},
		NodeSelector:          map[string]string{"set-by": by},
		Tolerations:           []corev1.Toleration{{Key: by, Operator: corev1.TolerationOpExists}},
		Affinity:              &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}},
		PriorityClassName:     by,
		Labels:                map[string]string{"set-by": by, by: "true"},
		Annotations:           map[string]string{"set-by": by, by: "true"},
		ActiveDeadlineSeconds: ptr.To(int64(len(by))),
		ParallelLayers:        ptr.To(int32(len(by))),
		Parallelism:           int32(len(by)),
		BufferSize:            resource.NewQuantity(int64(len(by))<<24, resource.BinarySI),
	}
}

// TestManifests compares the Job and the workspace of each Artifact with
// testdata/manifests, so that a diff of that folder shows what a change of the
// code changes in the cluster.
func TestManifests(t *testing.T) {
	const folder = "testdata/manifests"
	cases := manifestCases()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join(folder, name+".yaml"), tc.reason, manifests(t, tc.args))
		})
	}

	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := cases[strings.TrimSuffix(filepath.Base(f), ".yaml")]; !ok {
			t.Errorf("%s has no test case: delete it", f)
		}
	}
}

// manifests returns the Job and, where the pipeline needs one, the workspace of
// an Artifact, as YAML.
func manifests(t *testing.T, a *modelv1alpha1.Artifact) string {
	t.Helper()
	labels := LabelsForArtifact(a.GetName(), "v1.2.3")
	job := BuildJob(a, testKitImage, labels)
	if a.Effective.CopiedSecretName != "" {
		if err := useSecret(job, a.Effective.CopiedSecretName); err != nil {
			t.Fatal(err)
		}
	}
	objects := []any{job}
	if NeedsWorkspace(a) {
		objects = append(objects, BuildPVC(a, labels))
	}
	documents := make([]string, 0, len(objects))
	for _, o := range objects {
		out, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(out))
	}
	return strings.Join(documents, "---\n")
}

// golden compares a text with a golden file, or writes it with -update.
func golden(t *testing.T, file, reason, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := func(s string) []string { return slices.Collect(strings.Lines(s)) }
	if diff := cmp.Diff(lines(string(want)), lines(got)); diff != "" {
		t.Errorf("\n%s\nIf the change is meant: go test ./internal/artifact -run TestManifests -update\n%s: -want, +got:\n%s", reason, file, diff)
	}
}
