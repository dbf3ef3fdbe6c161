// Package outcome is the contract between a run's worker and the controller:
// the result that the worker leaves in its container's termination message,
// and the one vocabulary of reasons that an Artifact's Ready condition uses.
package outcome

// A Reason says in one word why a run, or an Artifact, is not what was asked
// for. It is what the Ready condition of an Artifact shows.
type Reason string

// Reasons that a worker gives for a failed run.
const (
	// Unauthorized: the Hub or the registry refused the credentials, or
	// wanted some and got none.
	Unauthorized Reason = "Unauthorized"

	// Gated: the model is there, but its owner has not granted the token's
	// account access to it.
	Gated Reason = "Gated"

	// NotFound: the model, its revision or the repository does not exist, or
	// not for these credentials.
	NotFound Reason = "NotFound"

	// RateLimited: the Hub or the registry asked to come back later.
	RateLimited Reason = "RateLimited"

	// Unavailable: the Hub or the registry could not be reached, or failed.
	Unavailable Reason = "Unavailable"

	// Untrusted: the Hub's or the registry's certificate, or its lack of one,
	// is not what the configuration expects.
	Untrusted Reason = "Untrusted"

	// NoSpace: the workspace or the registry has no room for the model.
	NoSpace Reason = "NoSpace"

	// Mismatch: bytes are not those that their owner announced.
	Mismatch Reason = "Mismatch"

	// TooOld: the kit in the image cannot do what the run needs, or the worker is
	// of another version than the provider.
	TooOld Reason = "TooOld"

	// Unsupported: the combination that the spec asks for does not exist.
	Unsupported Reason = "Unsupported"

	// Internal: something else went wrong, most likely in this program.
	Internal Reason = "Internal"
)

// Reasons that the controller reads from the Job's and its Pods' own state,
// where no worker could speak.
const (
	// Evicted: the node took the Pod away, by eviction or preemption.
	Evicted Reason = "Evicted"

	// OutOfMemory: a container of the Pod used more memory than its limit.
	OutOfMemory Reason = "OutOfMemory"

	// DeadlineExceeded: the run took longer than job.activeDeadlineSeconds.
	DeadlineExceeded Reason = "DeadlineExceeded"

	// ImagePull: an image of the Pod cannot be pulled.
	ImagePull Reason = "ImagePull"

	// PodLost: the Pod was deleted, or its node was lost, before the run's end.
	PodLost Reason = "PodLost"

	// ImageUnusable: an image of the Pod is there, but what the container runs
	// cannot be started in it.
	ImageUnusable Reason = "ImageUnusable"

	// ConfigMissing: a Secret, a key of it, or a ProviderConfig that the
	// Artifact needs does not exist.
	ConfigMissing Reason = "ConfigMissing"

	// ConfigInvalid: a value of a Secret, a file or a variable cannot be used as
	// it is. A run's worker gives this reason, too.
	ConfigInvalid Reason = "ConfigInvalid"

	// WorkspaceUnbound: the workspace has no volume, or none that the Pod's
	// node can mount.
	WorkspaceUnbound Reason = "WorkspaceUnbound"

	// QuotaExceeded: a ResourceQuota leaves no room for the run.
	QuotaExceeded Reason = "QuotaExceeded"

	// Refused: the API server, or an admission policy, refuses an object of
	// the run.
	Refused Reason = "Refused"

	// PermissionMissing: the provider's own account may not do what it has to.
	PermissionMissing Reason = "PermissionMissing"

	// NotAllowed: the ProviderConfig does not let the Artifact's namespace do
	// what the Artifact asks for.
	NotAllowed Reason = "NotAllowed"

	// Unschedulable: no node takes the Pod.
	Unschedulable Reason = "Unschedulable"

	// NotStarted: the Pod of a run with a copy of credentials did not start in
	// time, and the run was stopped.
	NotStarted Reason = "NotStarted"

	// JobFailed: the Job failed and nothing says why.
	JobFailed Reason = "JobFailed"

	// JobNotCreated: no Job has been seen for this Artifact.
	JobNotCreated Reason = "JobNotCreated"

	// WorkspaceConflict: an object with the name of the Artifact's workspace,
	// Job or Secret belongs to somebody else.
	WorkspaceConflict Reason = "WorkspaceConflict"

	// TagConflict: the Artifact's tag points to something that it did not push.
	// A run's worker gives this reason, too.
	TagConflict Reason = "TagConflict"

	// RegistryChanged: the ProviderConfig names another registry than the one
	// that the Artifact was made for.
	RegistryChanged Reason = "RegistryChanged"
)

// vocabulary holds all reasons.
var vocabulary = map[Reason]bool{
	Unauthorized: true, Gated: true, NotFound: true, RateLimited: true, Unavailable: true, Untrusted: true, NoSpace: true,
	Mismatch: true, TooOld: true, Unsupported: true, Internal: true, Evicted: true, OutOfMemory: true, DeadlineExceeded: true,
	ImagePull: true, PodLost: true, ImageUnusable: true, ConfigMissing: true, ConfigInvalid: true, WorkspaceUnbound: true, QuotaExceeded: true,
	Refused: true, PermissionMissing: true, NotAllowed: true, Unschedulable: true, JobFailed: true, JobNotCreated: true, NotStarted: true,
	WorkspaceConflict: true, TagConflict: true, RegistryChanged: true,
}

// Known reports whether r is one of the vocabulary. A termination message can
// hold any word.
func (r Reason) Known() bool { return vocabulary[r] }

// passing are the reasons that go away by themselves.
var passing = map[Reason]bool{
	RateLimited: true,
	Unavailable: true,
	Evicted:     true,
	OutOfMemory: true,
	PodLost:     true,
	NotStarted:  true,
}

// Passes says whether a failure for this reason may pass by itself, so that
// another try of the same run makes sense.
func (r Reason) Passes() bool { return passing[r] }
