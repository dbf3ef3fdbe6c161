// Package artifact maps an Artifact to the objects of a run in the cluster (Job,
// workspace, Secret), and the state of these objects to that of the Artifact. It
// uses the Kubernetes API only, never a registry or a Hub.
//
// Its exported surface takes Artifacts and nothing else. Settings that are not in an
// Artifact's spec are therefore in its unserialized field Effective.
package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

const (
	// ConditionTypeReady is the condition that reports whether the artifact is in
	// its registry.
	ConditionTypeReady = "Ready"

	// ComponentArtifact is the value of the label app.kubernetes.io/component of
	// all objects that belong to an Artifact.
	ComponentArtifact = "model-artifact"

	// WorkspaceVolumeName is the name of the Pod's volume with the workspace.
	WorkspaceVolumeName = "workspace"

	// WorkspaceMountPath is the path of the workspace in the Pod.
	WorkspaceMountPath = "/workspace"

	// PVCSuffix follows an Artifact's name in the name of its workspace.
	PVCSuffix = "-workspace"

	// DefaultJobTTLSeconds is the time in seconds that a Job is kept after its
	// end, so that its logs can be read.
	DefaultJobTTLSeconds = int32(3600)
)

// Annotations of Artifacts and of objects that belong to them.
const (
	// AnnotationArtifact has the Artifact's name, which may be too long for a
	// label.
	AnnotationArtifact = modelv1alpha1.Group + "/artifact"

	// AnnotationOwner has the UID that identifies the Artifact in its registry. It
	// is kept when the Artifact is restored in another cluster; a UID that is not
	// the Artifact's own counts only if the ProviderConfig has AnnotationAdopt.
	AnnotationOwner = modelv1alpha1.Group + "/owner"

	// AnnotationAdopt with the value "true" on a ProviderConfig or
	// ClusterProviderConfig lets Artifacts whose status has no digest adopt what a
	// record in the registry names as theirs, by the UID in their AnnotationOwner
	// or, without one, by namespace and name.
	//
	// With the value "any-key" on a ClusterProviderConfig these records may also be signed by a key that is not
	// trusted, as after the loss of one. Anybody who may push can write those.
	AnnotationAdopt = v1alpha1.Group + "/adopt"

	// AnnotationRunHash has the hash of the run that an object belongs to.
	AnnotationRunHash = modelv1alpha1.Group + "/run-hash"

	// AnnotationRun has the number of the run that an object belongs to.
	AnnotationRun = modelv1alpha1.Group + "/run"

	// AnnotationGeneration has the Artifact's generation that an object was
	// created for.
	AnnotationGeneration = modelv1alpha1.Group + "/generation"

	// AnnotationConfigHash has a hash of the ProviderConfig and of the Secrets that
	// a Job uses.
	AnnotationConfigHash = modelv1alpha1.Group + "/config-hash"

	// AnnotationBuildHash has a hash of a workspace, or of a Job without its
	// images, as it was requested: admission may change the object afterwards.
	AnnotationBuildHash = modelv1alpha1.Group + "/build-hash"

	// AnnotationImagesHash has a hash of the images of a Job as it was requested.
	AnnotationImagesHash = modelv1alpha1.Group + "/images-hash"

	// AnnotationCredentials has the name of the Secret with copied credentials
	// that a Job uses; absent if it uses none.
	AnnotationCredentials = modelv1alpha1.Group + "/credentials"

	// AnnotationCopyHash has a hash of the versions of the Secrets from which a Secret with
	// copied credentials was copied.
	AnnotationCopyHash = modelv1alpha1.Group + "/copy-hash"

	// AnnotationArtifactNamespace has the Artifact's namespace. Only objects of runs
	// that execute in another namespace have it.
	AnnotationArtifactNamespace = modelv1alpha1.Group + "/artifact-namespace"

	// AnnotationRunNamespaces of an Artifact has the namespaces in which objects of
	// its runs may be, separated by commas; absent for its own alone.
	AnnotationRunNamespaces = modelv1alpha1.Group + "/run-namespaces"

	// AnnotationReference has the reference that a run's artifact is for.
	AnnotationReference = modelv1alpha1.Group + "/reference"
)

// Well-known labels
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
const (
	labelName      = "app.kubernetes.io/name"
	LabelInstance  = "app.kubernetes.io/instance"
	labelComponent = "app.kubernetes.io/component"
	labelManagedBy = "app.kubernetes.io/managed-by"
	labelVersion   = "app.kubernetes.io/version"

	appName = "provider-kitops"
)

// LabelArtifactUID has the UID of the Artifact that an object of a run belongs to, if
// the run executes in another namespace than the Artifact's: no owner reference leads
// from one namespace to another
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/).
const LabelArtifactUID = modelv1alpha1.Group + "/artifact-uid"

// SelectorLabelsForArtifact returns the labels that select the objects of an
// Artifact. They omit the version, so that an upgrade of the provider still finds
// running Jobs.
func SelectorLabelsForArtifact(artifactName string) map[string]string {
	labels := CommonLabels()
	labels[LabelInstance] = shorten(artifactName, validation.LabelValueMaxLength)
	return labels
}

// CommonLabels returns the labels of all objects that belong to any Artifact.
func CommonLabels() map[string]string {
	return map[string]string{
		labelName:      appName,
		labelComponent: ComponentArtifact,
		labelManagedBy: appName,
	}
}

// LabelsForArtifact returns the labels of objects that this version of the provider
// creates for an Artifact.
func LabelsForArtifact(artifactName, version string) map[string]string {
	labels := SelectorLabelsForArtifact(artifactName)
	if v := labelValue(version); v != "" {
		labels[labelVersion] = v
	}
	return labels
}

// PVCName returns the name of an Artifact's workspace in its own namespace.
func PVCName(artifactName string) string { return withSuffix(artifactName, PVCSuffix) }

// maxIndexSuffix is the length of what a Pod's host name has after the name of an Indexed
// Job: a dash and the completion index. With it, the name must be a DNS label
// (https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode).
const maxIndexSuffix = len("-63")

// JobName returns the name of an Artifact's Jobs. It is the same for all Jobs of all runs,
// so that the API server refuses a second Job, and differs between consecutive
// Artifacts of one name.
func JobName(a *modelv1alpha1.Artifact) string {
	suffix := uidSuffix(a)
	return dnsLabel(a.GetName(), validation.DNS1123LabelMaxLength-maxIndexSuffix-len(suffix)) + suffix
}

// generateName returns the GenerateName of an Artifact's Jobs.
func generateName(artifactName string) string {
	const random = 5
	return dnsLabel(artifactName, validation.DNS1123LabelMaxLength-maxIndexSuffix-random-1) + "-"
}

// dnsLabel returns an object's name as the beginning of a DNS label, with at most n bytes.
func dnsLabel(name string, n int) string {
	return shorten(strings.ReplaceAll(name, ".", "-"), n)
}

// withSuffix returns the name of an object that belongs to an Artifact.
func withSuffix(name, suffix string) string {
	return shorten(name, validation.DNS1123SubdomainMaxLength-len(suffix)) + suffix
}

// shortened matches the names that shorten returns. A name of full length that
// matches is shortened too, so that no two names become the same.
var shortened = regexp.MustCompile(`-[0-9a-f]{10}$`)

// shorten returns s if it has at most n bytes; otherwise n bytes: the beginning of s
// and a hash of all of it.
func shorten(s string, n int) string {
	if len(s) < n || (len(s) == n && !shortened.MatchString(s)) {
		return s
	}
	hash := shortHash(s)
	head := s[:n-len(hash)-1]
	if strings.HasSuffix(head, ".") {
		// A label of a DNS name must not start with a dash.
		head = strings.TrimSuffix(head, ".") + "-"
	}
	return head + "-" + hash
}

// shortHash returns 10 hex digits that distinguish shortened names.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:5])
}

var notInLabels = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// labelValue returns s as a valid value of a label.
func labelValue(s string) string {
	s = notInLabels.ReplaceAllString(s, "-")
	if len(s) > validation.LabelValueMaxLength {
		s = s[:validation.LabelValueMaxLength]
	}
	return strings.Trim(s, "._-")
}
