package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const defaultTag = "latest"

// A Run is one attempt to bring the source into the registry.
type Run struct {
	// Hash of what the artifact is built from; see RunHash.
	Hash string

	// Number of the run, counted from 1 over the Artifact's life.
	Number int64
}

// RunOf returns the run in an object's annotations; the zero Run if they name none.
func RunOf(o metav1.Object) Run {
	n, err := strconv.ParseInt(o.GetAnnotations()[AnnotationRun], 10, 64)
	if err != nil {
		n = 0
	}
	return Run{Hash: o.GetAnnotations()[AnnotationRunHash], Number: n}
}

// GenerationOf returns the Artifact's generation in an object's annotations; 0 if
// they name none.
func GenerationOf(o metav1.Object) int64 {
	n, err := strconv.ParseInt(o.GetAnnotations()[AnnotationGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Annotations returns the annotations of an object of the run.
func (r Run) Annotations() map[string]string {
	return map[string]string{
		AnnotationRunHash: r.Hash,
		AnnotationRun:     strconv.FormatInt(r.Number, 10),
	}
}

// Pipeline returns the pipeline of the Artifact's runs: its spec's; if the spec names
// none, that of the Artifact's content or of its run in progress, so that a change
// of the ProviderConfig neither rebuilds an artifact nor stops a run; else Stream for
// what kit does not support; else the ProviderConfig's; else Kit.
func Pipeline(a *modelv1alpha1.Artifact) modelv1alpha1.PipelineType {
	if p := a.Spec.ForProvider.Pipeline; p != "" {
		return p
	}
	for _, p := range []modelv1alpha1.PipelineType{modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream} {
		if slices.Contains(currentRuns(a), runHash(a, p)) {
			return p
		}
	}
	if !kitSupports(a) {
		return modelv1alpha1.PipelineStream
	}
	return cmp.Or(a.Effective.Pipeline, modelv1alpha1.PipelineKit)
}

// CheckRun returns an error if the source that the Artifact's spec names, or the pipeline
// that it names or that its content is of, cannot be used with its ProviderConfig.
func CheckRun(a *modelv1alpha1.Artifact) error {
	if s := a.Spec.ForProvider.Source; s != nil && s.PersistentVolumeClaim != nil && isolated(a) {
		return outcome.Errorf(outcome.Unsupported,
			"PersistentVolumeClaim %q is in namespace %q, and runs of the ClusterProviderConfig execute in %q, where no Pod can mount it: write a ProviderConfig, or a ClusterProviderConfig without job.namespace, in spec.providerConfigRef, or write another source",
			s.PersistentVolumeClaim.ClaimName, a.GetNamespace(), RunNamespace(a))
	}
	if Pipeline(a) != modelv1alpha1.PipelineKit {
		return nil
	}
	if a.Effective.RegistryIdentity != "" {
		return outcome.Errorf(outcome.Unsupported,
			"Pipeline Kit cannot use credentials.source InjectedIdentity of the ClusterProviderConfig, since kit keeps its first password for a whole push, which may last longer: set spec.forProvider.pipeline to Stream")
	}
	if needsStream(a.Spec.ForProvider.Job) {
		return outcome.Errorf(outcome.Unsupported,
			"The artifact is built by pipeline Kit, which has no job.parallelLayers and no job.bufferSize, and runs in one Pod: remove these and job.parallelism from spec.forProvider.job, or set spec.forProvider.pipeline to Stream, which rebuilds the artifact")
	}
	if hubIdentity(a) == "" {
		return nil
	}
	return outcome.Errorf(outcome.Unsupported,
		"Pipeline Kit cannot use huggingFace.identity of the ClusterProviderConfig, since kit keeps its first token: set spec.forProvider.pipeline to Stream, or name a Secret with a token in spec.forProvider.source.huggingFace.tokenSecretRef")
}

// kitSupports reports whether kit supports what the Artifact's spec asks for: whole
// models of the public Hub, with stored credentials or none, or files of a volume,
// as any format except Image, without annotations, one file after the other and in one Pod
// (https://kitops.org/docs/cli/cli-reference/, kit import and kit pack).
func kitSupports(a *modelv1alpha1.Artifact) bool {
	if a.Spec.ForProvider.Format == modelv1alpha1.PackFormatImage || len(Annotations(a)) > 0 || a.Effective.RegistryIdentity != "" || needsStream(a.Spec.ForProvider.Job) {
		return false
	}
	if s := a.Spec.ForProvider.Source; s != nil && (hashedFiles(s.Files) != nil || s.HuggingFace == nil) {
		return s.PersistentVolumeClaim != nil
	}
	// kit import does not accept a model without an organisation.
	if hf := huggingFace(a); hf != nil && strings.Count(hf.Model, "/") != 1 {
		return false
	}
	if hubIdentity(a) != "" {
		return false
	}
	hub := strings.TrimRight(a.Effective.HubEndpoint, "/")
	return hub == "" || hub == v1alpha1.DefaultHubEndpoint
}

// needsStream reports whether an Artifact's own job settings are of pipeline Stream only.
// A config's are defaults for those of its Artifacts that Stream builds.
func needsStream(s *v1alpha1.JobSettings) bool {
	return s != nil && (s.ParallelLayers != nil || s.BufferSize != nil || s.Parallelism > 1)
}

// currentRuns returns the run hashes of the Artifact's committed and staged content
// and of its run in progress.
func currentRuns(a *modelv1alpha1.Artifact) []string {
	s := a.Status.AtProvider
	var out []string
	if s.Digest != "" {
		out = append(out, s.RunHash)
	}
	if s.Staged != nil {
		out = append(out, s.Staged.RunHash)
	}
	if s.Phase == modelv1alpha1.PhaseRunning {
		out = append(out, RunOf(a).Hash)
	}
	return out
}

// runHashInput has all that decides the bytes of an artifact. Unset fields are
// omitted, so that a field that a later version adds changes no hash.
type runHashInput struct {
	Source   *runHashSource `json:"source,omitempty"`
	Format   string         `json:"format"`
	Pipeline string         `json:"pipeline"`

	Annotations map[string]string `json:"annotations,omitempty"`
}

// RunHash returns a hash of what an Artifact is built from: source, files, format,
// annotations, and the pipeline that Pipeline returns, whether or not the spec names it. Only
// another run hash needs another run. It must not change between versions of the
// provider.
func RunHash(a *modelv1alpha1.Artifact) string { return runHash(a, Pipeline(a)) }

// CommitRunHash returns the run hash that the Artifact would have if its spec named
// this commit of the source in place of a branch or a tag; empty if the source has
// no commits.
func CommitRunHash(a *modelv1alpha1.Artifact, commit string) string {
	if huggingFace(a) == nil || commit == "" {
		return ""
	}
	pinned := a.DeepCopy()
	pinned.Spec.ForProvider.Source.HuggingFace.Revision = commit
	return runHash(pinned, Pipeline(a))
}

// runHash returns the Artifact's run hash with this pipeline.
func runHash(a *modelv1alpha1.Artifact, pipeline modelv1alpha1.PipelineType) string {
	in := runHashInput{
		Source:   hashedSource(a),
		Format:   string(cmp.Or(a.Spec.ForProvider.Format, modelv1alpha1.PackFormatModelPack)),
		Pipeline: string(pipeline),

		Annotations: Annotations(a),
	}
	// Strings can always be encoded.
	out, _ := json.Marshal(in) //nolint:errchkjson // See above.
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:8])
}

// Registry returns the registry that the Artifact is pushed to: its own, else its
// ProviderConfig's.
func Registry(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil && t.Registry != "" {
		return string(t.Registry)
	}
	return a.Effective.Registry
}

// Repository returns the repository that the Artifact is pushed to.
func Repository(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil {
		return t.Repository
	}
	return ""
}

// Tag returns the Artifact's tag.
func Tag(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil {
		return cmp.Or(t.Tag, defaultTag)
	}
	return defaultTag
}

// Annotations returns the annotations that the Artifact's spec asks for.
func Annotations(a *modelv1alpha1.Artifact) map[string]string {
	if t := a.Spec.ForProvider.Target; t != nil {
		return t.Annotations
	}
	return nil
}

// MayOverwrite reports whether the Artifact may overwrite a foreign tag.
func MayOverwrite(a *modelv1alpha1.Artifact) bool {
	t := a.Spec.ForProvider.Target
	return t != nil && t.ConflictPolicy == modelv1alpha1.ConflictOverwrite
}

// OCIReference returns the Artifact's name in its registry:
// registry/repository:tag.
func OCIReference(artifact *modelv1alpha1.Artifact) string {
	return ExternalName(artifact) + ":" + Tag(artifact)
}

// ExternalName returns the Artifact's identity outside the cluster, which never
// changes: registry/repository.
func ExternalName(a *modelv1alpha1.Artifact) string {
	return Registry(a) + "/" + Repository(a)
}

const (
	defaultRetryLimit    = int32(5)
	defaultRetryInterval = 30 * time.Second

	// longestRetryWait limits the backoff, and the wait that a server requests.
	longestRetryWait = time.Hour
)

// RetryWait returns the wait after a failed run until its retry, and reports whether
// it is retried: if the failure is transient and the Artifact's limit is not
// reached. Runs that did not start are not limited. The wait doubles with each
// failure and is at least what a server requested. Up to half of it is added as
// jitter, which is always the same for one run of an Artifact.
func RetryWait(a *modelv1alpha1.Artifact, failures, run int64, f outcome.Failure) (time.Duration, bool) {
	limit, wait := defaultRetryLimit, defaultRetryInterval
	if p := a.Spec.ForProvider.Retry; p != nil {
		if p.Limit != nil {
			limit = *p.Limit
		}
		if p.Interval != nil {
			wait = p.Interval.Duration
		}
	}
	if !f.Reason.Transient() || (failures > int64(limit) && f.Reason != outcome.NotStarted) {
		return 0, false
	}
	asked := time.Duration(min(f.RetryAfterSeconds, int64(longestRetryWait/time.Second))) * time.Second
	wait = max(retry.Backoff(int(failures), wait, longestRetryWait), asked)
	return wait + time.Duration(float64(wait/2)*spread(a, run)), true
}

// spread returns a number from 0 to 1 that is derived from an Artifact's run.
func spread(a *modelv1alpha1.Artifact, run int64) float64 {
	sum := sha256.Sum256([]byte(string(a.GetUID()) + "/" + strconv.FormatInt(run, 10)))
	return float64(binary.BigEndian.Uint32(sum[:4])) / float64(1<<32)
}
