package outcome

import "strconv"

// CheckpointType is the artifact type of a run's checkpoint: the manifest that lists
// the layers that the run has pushed so far.
const CheckpointType = "application/vnd.kitops.crossplane.checkpoint.v1+json"

// MaxShares is how many Pods may share a run.
const MaxShares = 64

// EnvCompletionIndex is the variable with the index of a Pod in its Indexed Job
// (https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode).
const EnvCompletionIndex = "JOB_COMPLETION_INDEX"

// AnnotationShares is the annotation of a run's checkpoint with the most shares that the run
// was divided into, each of which may have left a part of the checkpoint. A run that is not
// divided has none, so that its parts cost no request.
const AnnotationShares = "io.crossplane.m.kitops.shares"

// PartTag returns the tag of the part of a run's checkpoint that a share leaves; empty for a
// run without a checkpoint. It is a tag that no Artifact can have, as the checkpoint's is.
func PartTag(checkpointTag string, share int) string {
	if checkpointTag == "" {
		return ""
	}
	return checkpointTag + "-" + strconv.Itoa(share)
}

// SharesIn returns how many shares a checkpoint with these annotations says its run was
// divided into, at most MaxShares. Anyone who may push can have written it.
func SharesIn(annotations map[string]string) int {
	n, err := strconv.Atoi(annotations[AnnotationShares])
	if err != nil {
		return 0
	}
	return min(max(n, 0), MaxShares)
}
