// Package artifact maps an Artifact to what a run needs in the cluster (a Job, a
// workspace, a Secret) and what is there back to the Artifact's state. It talks
// to the Kubernetes API only, never to a registry or a Hub.
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
	// ConditionTypeReady is the condition that says whether the artifact is in
	// its registry.
	ConditionTypeReady = "Ready"

	// ComponentArtifact is the value of the label app.kubernetes.io/component
	// on everything that belongs to an Artifact.
	ComponentArtifact = "model-artifact"

	// WorkspaceVolumeName is the Pod's volume that holds the workspace.
	WorkspaceVolumeName = "workspace"

	// WorkspaceMountPath is where the workspace is in the Pod.
	WorkspaceMountPath = "/workspace"

	// PVCSuffix follows an Artifact's name in its workspace's.
	PVCSuffix = "-workspace"

	// DefaultJobTTLSeconds is how long a Job is kept after its end, in
	// seconds, so that its logs can be read.
	DefaultJobTTLSeconds = int32(3600)
)

// Annotations on what belongs to an Artifact.
const (
	// AnnotationArtifact holds the Artifact's name, which may be too long for
	// a label.
	AnnotationArtifact = modelv1alpha1.Group + "/artifact"

	// AnnotationOwner holds what an Artifact is known by in its registry: its UID.
	// It goes along where the Artifact is restored elsewhere. Another UID is
	// believed only where the ProviderConfig has AnnotationAdopt.
	AnnotationOwner = modelv1alpha1.Group + "/owner"

	// AnnotationAdopt, with the value "true", is for ProviderConfigs and
	// ClusterProviderConfigs: Artifacts that use it and know nothing of having
	// pushed adopt what a record in the registry names as theirs, by the UID in
	// their AnnotationOwner or, without one, by namespace and name.
	AnnotationAdopt = v1alpha1.Group + "/adopt"

	// AnnotationRunHash holds the run hash that an object was made for.
	AnnotationRunHash = modelv1alpha1.Group + "/run-hash"

	// AnnotationRun holds the number of the run that an object was made for.
	AnnotationRun = modelv1alpha1.Group + "/run"

	// AnnotationGeneration holds the Artifact's generation that an object was
	// made for.
	AnnotationGeneration = modelv1alpha1.Group + "/generation"

	// AnnotationConfigHash holds what identifies the state of the ProviderConfig
	// and of the Secrets that a Job uses.
	AnnotationConfigHash = modelv1alpha1.Group + "/config-hash"

	// AnnotationBuildHash holds a hash of what a Job, but for its images, or a
	// workspace was asked to be, whatever admission made of it.
	AnnotationBuildHash = modelv1alpha1.Group + "/build-hash"

	// AnnotationImagesHash holds a hash of the images that a Job was asked to
	// run.
	AnnotationImagesHash = modelv1alpha1.Group + "/images-hash"

	// AnnotationCredentials holds the name of the Secret with copied credentials
	// that a Job uses; absent where it uses none.
	AnnotationCredentials = modelv1alpha1.Group + "/credentials"

	// AnnotationReference holds the reference that a Job pushes to.
	AnnotationReference = modelv1alpha1.Group + "/reference"
)

// Well-known labels
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
const (
	labelName      = "app.kubernetes.io/name"
	labelInstance  = "app.kubernetes.io/instance"
	labelComponent = "app.kubernetes.io/component"
	labelManagedBy = "app.kubernetes.io/managed-by"
	labelVersion   = "app.kubernetes.io/version"

	appName = "provider-kitops"
)

// SelectorLabelsForArtifact returns the labels by which what belongs to an
// Artifact is found. They leave out the version, so that an upgrade of the
// provider loses no running Job.
func SelectorLabelsForArtifact(artifactName string) map[string]string {
	labels := CommonLabels()
	labels[labelInstance] = shorten(artifactName, validation.LabelValueMaxLength)
	return labels
}

// CommonLabels returns the labels that all has that belongs to any Artifact.
func CommonLabels() map[string]string {
	return map[string]string{
		labelName:      appName,
		labelComponent: ComponentArtifact,
		labelManagedBy: appName,
	}
}

// LabelsForArtifact returns the labels of what belongs to an Artifact and was
// made by this version of the provider.
func LabelsForArtifact(artifactName, version string) map[string]string {
	labels := SelectorLabelsForArtifact(artifactName)
	if v := labelValue(version); v != "" {
		labels[labelVersion] = v
	}
	return labels
}

// PVCName returns the name of an Artifact's workspace.
func PVCName(artifactName string) string { return withSuffix(artifactName, PVCSuffix) }

// JobName returns the name of an Artifact's Jobs: one name for all of its runs,
// so that the API server itself keeps a second Job out, whoever asks for it and
// for whichever run. It tells Artifacts apart that had the same name one after
// the other.
func JobName(a *modelv1alpha1.Artifact) string {
	suffix := "-" + shortHash(string(a.GetUID()))
	// The Job's name becomes a label of its Pods.
	return shorten(a.GetName(), validation.LabelValueMaxLength-len(suffix)) + suffix
}

// generateName returns the prefix for names that the API server completes.
func generateName(artifactName string) string {
	const random = 5
	return shorten(artifactName, validation.LabelValueMaxLength-random-1) + "-"
}

// withSuffix returns a name for an object that belongs to an Artifact.
func withSuffix(name, suffix string) string {
	return shorten(name, validation.DNS1123SubdomainMaxLength-len(suffix)) + suffix
}

// shortened matches what shorten makes: a name that looks like one is shortened
// too, so that no two names become the same.
var shortened = regexp.MustCompile(`-[0-9a-f]{10}$`)

// shorten returns s if it has at most n bytes, otherwise n bytes: as much of it
// as leaves room for a hash of the whole.
func shorten(s string, n int) string {
	if len(s) < n || (len(s) == n && !shortened.MatchString(s)) {
		return s
	}
	hash := shortHash(s)
	head := s[:n-len(hash)-1]
	if strings.HasSuffix(head, ".") {
		// A part of a DNS name does not start with a dash.
		head = strings.TrimSuffix(head, ".") + "-"
	}
	return head + "-" + hash
}

// shortHash tells names apart that have little room.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:5])
}

var notInLabels = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// labelValue returns s as far as a label's value may hold it.
func labelValue(s string) string {
	s = notInLabels.ReplaceAllString(s, "-")
	if len(s) > validation.LabelValueMaxLength {
		s = s[:validation.LabelValueMaxLength]
	}
	return strings.Trim(s, "._-")
}
