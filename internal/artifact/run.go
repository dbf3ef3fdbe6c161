package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
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

// runHashInput lists all that makes another artifact when it changes. Fields
// that are not set are left out, so that a field that a later version adds
// changes no hash.
type runHashInput struct {
	Source   *runHashSource `json:"source,omitempty"`
	Format   string         `json:"format"`
	Pipeline string         `json:"pipeline"`
}

// RunHash identifies what an Artifact is made from and how: source, format and
// pipeline. Only a change of it makes a new artifact; it is stable over
// versions of the provider.
func RunHash(a *modelv1alpha1.Artifact) string {
	p := a.Spec.ForProvider
	in := runHashInput{
		Source:   hashedSource(a),
		Format:   string(cmp.Or(p.Format, modelv1alpha1.PackFormatModelPack)),
		Pipeline: string(cmp.Or(p.Pipeline, modelv1alpha1.PipelineKit)),
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
