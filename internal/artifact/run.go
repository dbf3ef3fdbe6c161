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

// A Run is one try to make an artifact.
type Run struct {
	// Hash of what the artifact is made from; see RunHash.
	Hash string

	// Number of the run, counted from 1 over the Artifact's life.
	Number int64
}

// RunOf returns the run that an object was made for, as its annotations say;
// the zero Run where they say nothing.
func RunOf(o metav1.Object) Run {
	n, err := strconv.ParseInt(o.GetAnnotations()[AnnotationRun], 10, 64)
	if err != nil {
		n = 0
	}
	return Run{Hash: o.GetAnnotations()[AnnotationRunHash], Number: n}
}

// GenerationOf returns the Artifact's generation that an object was made for, 0
// where its annotations do not say.
func GenerationOf(o metav1.Object) int64 {
	n, err := strconv.ParseInt(o.GetAnnotations()[AnnotationGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Annotations that say for which run an object is.
func (r Run) Annotations() map[string]string {
	return map[string]string{
		AnnotationRunHash: r.Hash,
		AnnotationRun:     strconv.FormatInt(r.Number, 10),
	}
}

// Pipeline that makes the Artifact: the one that its spec names. Where it names
// none, it is the one that the Artifact's content or its run in progress was
// started with, so that a change of its ProviderConfig rebuilds and stops
// nothing; else Stream for what kit cannot make; else the ProviderConfig's, else
// Kit.
func Pipeline(a *modelv1alpha1.Artifact) modelv1alpha1.PipelineType {
	if p := a.Spec.ForProvider.Pipeline; p != "" {
		return p
	}
	for _, p := range []modelv1alpha1.PipelineType{modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream} {
		if slices.Contains(standingRuns(a), runHash(a, p)) {
			return p
		}
	}
	if !kitCanMake(a) {
		return modelv1alpha1.PipelineStream
	}
	return cmp.Or(a.Effective.Pipeline, modelv1alpha1.PipelineKit)
}

// kitCanMake reports whether kit can do what the Artifact's spec asks: kit packs
// whole models of the public Hub and makes no images
// (https://kitops.org/docs/cli/cli-reference/, kit import and kit pack).
func kitCanMake(a *modelv1alpha1.Artifact) bool {
	if OCISource(a) != nil || a.Spec.ForProvider.Format == modelv1alpha1.PackFormatImage {
		return false
	}
	// Without an organisation, kit takes a model's name for something else.
	if hf := huggingFace(a); hf != nil && (strings.Count(hf.Model, "/") != 1 || hashedFiles(hf.Files) != nil) {
		return false
	}
	hub := strings.TrimRight(a.Effective.HubEndpoint, "/")
	return hub == "" || hub == v1alpha1.DefaultHubEndpoint
}

// standingRuns returns the run hashes of what the Artifact has in the registry
// and of its run in progress.
func standingRuns(a *modelv1alpha1.Artifact) []string {
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

// runHashInput lists all that makes another artifact when it changes. Fields
// that are not set are left out, so that a field that a later version adds
// changes no hash.
type runHashInput struct {
	Source   *runHashSource `json:"source,omitempty"`
	Format   string         `json:"format"`
	Pipeline string         `json:"pipeline"`
}

// RunHash identifies what an Artifact is made from and how: source, format and
// the pipeline that Pipeline returns, whether the spec names it or not. Only a
// change of it rebuilds the artifact; it is stable over versions of the
// provider.
func RunHash(a *modelv1alpha1.Artifact) string { return runHash(a, Pipeline(a)) }

// runHash returns the hash of a run of the Artifact by this pipeline.
func runHash(a *modelv1alpha1.Artifact, pipeline modelv1alpha1.PipelineType) string {
	in := runHashInput{
		Source:   hashedSource(a),
		Format:   string(cmp.Or(a.Spec.ForProvider.Format, modelv1alpha1.PackFormatModelPack)),
		Pipeline: string(pipeline),
	}
	// Strings alone: there is nothing that cannot be encoded.
	out, _ := json.Marshal(in) //nolint:errchkjson // See above.
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:8])
}

// Registry that the Artifact is pushed to: its own, else its ProviderConfig's.
func Registry(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil && t.Registry != "" {
		return string(t.Registry)
	}
	return a.Effective.Registry
}

// Repository that the Artifact is pushed to, in its registry.
func Repository(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil {
		return t.Repository
	}
	return ""
}

// Tag that the Artifact is pushed under.
func Tag(a *modelv1alpha1.Artifact) string {
	if t := a.Spec.ForProvider.Target; t != nil {
		return cmp.Or(t.Tag, defaultTag)
	}
	return defaultTag
}

// MayOverwrite reports whether the Artifact takes its tag also from what it did
// not push.
func MayOverwrite(a *modelv1alpha1.Artifact) bool {
	t := a.Spec.ForProvider.Target
	return t != nil && t.ConflictPolicy == modelv1alpha1.ConflictOverwrite
}

// OCIReference returns the Artifact's name in its registry:
// registry/repository:tag.
func OCIReference(artifact *modelv1alpha1.Artifact) string {
	return ExternalName(artifact) + ":" + Tag(artifact)
}

// ExternalName returns what the Artifact is called outside of the cluster for
// as long as it lives: registry/repository.
func ExternalName(a *modelv1alpha1.Artifact) string {
	return Registry(a) + "/" + Repository(a)
}

const (
	defaultRetryLimit    = int32(5)
	defaultRetryInterval = 30 * time.Second

	// longestRetryWait bounds the waits that double, and what a server may ask
	// for.
	longestRetryWait = time.Hour
)

// RetryWait returns how long to wait after the end of a run until it is tried
// again, and whether it is at all: where the failure may pass by itself and
// the Artifact's limit is not reached. A run that did not start has tried
// nothing, and no limit holds for it. The wait doubles with each failure and
// is never shorter than what a server asked for. Up to half of it is added,
// which differs between Artifacts and runs but is the same at any time.
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

// spread returns a number from 0 to 1 for an Artifact's run.
func spread(a *modelv1alpha1.Artifact, run int64) float64 {
	sum := sha256.Sum256([]byte(string(a.GetUID()) + "/" + strconv.FormatInt(run, 10)))
	return float64(binary.BigEndian.Uint32(sum[:4])) / float64(1<<32)
}
