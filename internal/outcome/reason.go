// Package outcome is the contract between a run's worker and the controller: the
// result that the worker writes as its container's termination message, the
// progress that it reports meanwhile, and the vocabulary of reasons that the Ready
// condition of an Artifact uses.
package outcome

// A Reason is the reason, in one word, why a run failed or an Artifact is not
// Ready. It is the reason of the Ready condition.
type Reason string

// Reasons that a worker reports for a failed run.
const (
	// Unauthorized: the Hub or the registry refused the credentials, or requires
	// some and got none.
	Unauthorized Reason = "Unauthorized"

	// Gated: the model exists, but its owner has not granted access to the
	// token's account.
	Gated Reason = "Gated"

	// NotFound: the model, its revision or the repository does not exist, or is
	// not visible with these credentials.
	NotFound Reason = "NotFound"

	// RateLimited: the Hub or the registry limits the rate of requests.
	RateLimited Reason = "RateLimited"

	// Unavailable: the Hub or the registry could not be reached, or failed.
	Unavailable Reason = "Unavailable"

	// Untrusted: the certificate of the Hub or the registry is not trusted, or one
	// of them speaks HTTP where the configuration requires HTTPS, or vice versa.
	Untrusted Reason = "Untrusted"

	// NoSpace: the workspace or the registry has no room for the model.
	NoSpace Reason = "NoSpace"

	// Mismatch: bytes do not match the digest or size that was announced.
	Mismatch Reason = "Mismatch"

	// Changed: the source has other files than those that were asked for, or has changed
	// while it was read.
	Changed Reason = "Changed"

	// Unverified: the artifact has no signature or attestation by a signer who is
	// trusted to sign it.
	Unverified Reason = "Unverified"

	// TooOld: the kit in the image cannot do what the run needs, or the worker is
	// of another version than the provider.
	TooOld Reason = "TooOld"

	// Unsupported: the source, format, files and pipeline of the spec cannot be
	// combined, or the source has a form that is not supported.
	Unsupported Reason = "Unsupported"

	// PolicyViolation: a policy of the ProviderConfig or of a ClusterProviderConfig
	// refuses what would be packaged or published. The controller derives this
	// reason, too.
	PolicyViolation Reason = "PolicyViolation"

	// Internal: any other failure, most likely a bug in this program.
	Internal Reason = "Internal"
)

// Reasons that the controller derives from the state of the Job, its Pods and the
// cluster, where no worker reports one.
const (
	// Evicted: the Pod was evicted or preempted.
	Evicted Reason = "Evicted"

	// OutOfMemory: a container of the Pod used more memory than its limit.
	OutOfMemory Reason = "OutOfMemory"

	// DeadlineExceeded: the run took longer than job.activeDeadlineSeconds.
	DeadlineExceeded Reason = "DeadlineExceeded"

	// ImagePull: an image of the Pod cannot be pulled.
	ImagePull Reason = "ImagePull"

	// PodLost: the Pod was deleted, or its node was lost, before the run ended.
	PodLost Reason = "PodLost"

	// ImageUnusable: an image of the Pod was pulled, but the container's command
	// cannot be started in it.
	ImageUnusable Reason = "ImageUnusable"

	// ConfigMissing: a Secret, a key of it, or a ProviderConfig to which the
	// Artifact refers does not exist.
	ConfigMissing Reason = "ConfigMissing"

	// ConfigInvalid: a value in a Secret, a file or a variable is invalid. A
	// worker reports this reason, too.
	ConfigInvalid Reason = "ConfigInvalid"

	// WorkspaceUnbound: the workspace has no volume, or none that the Pod's node
	// can mount.
	WorkspaceUnbound Reason = "WorkspaceUnbound"

	// QuotaExceeded: a ResourceQuota does not allow the run.
	QuotaExceeded Reason = "QuotaExceeded"

	// Refused: the API server, or an admission policy, refuses an object of the
	// run.
	Refused Reason = "Refused"

	// PermissionMissing: the provider's own account lacks a permission.
	PermissionMissing Reason = "PermissionMissing"

	// NotAllowed: the ProviderConfig does not allow the Artifact's namespace what
	// the Artifact asks for.
	NotAllowed Reason = "NotAllowed"

	// Unschedulable: the Pod fits on no node.
	Unschedulable Reason = "Unschedulable"

	// NotStarted: the run was stopped because its Pod, which has a copy of
	// credentials, did not start in time.
	NotStarted Reason = "NotStarted"

	// JobFailed: the Job failed for an unknown reason.
	JobFailed Reason = "JobFailed"

	// Queued: the run waits until a limit on runs, or the queue of its Job, lets it
	// start. Nothing has failed.
	Queued Reason = "Queued"

	// QueueUnavailable: Kueue does not answer, without which the cluster creates no
	// Job, in a queue or not.
	QueueUnavailable Reason = "QueueUnavailable"

	// JobNotCreated: the Artifact has no Job yet.
	JobNotCreated Reason = "JobNotCreated"

	// WorkspaceConflict: an object with the name of the Artifact's workspace, Job
	// or Secret has another owner.
	WorkspaceConflict Reason = "WorkspaceConflict"

	// TagConflict: the Artifact's tag names something that it did not push.
	TagConflict Reason = "TagConflict"

	// RegistryChanged: the ProviderConfig names another registry than the one to
	// which the Artifact was pushed.
	RegistryChanged Reason = "RegistryChanged"
)

// A waiting is what an Artifact waits for that is not Ready for a reason.
type waiting string

const (
	// forTime: for what passes without a person's decision about this Artifact: a run
	// that goes on or is retried, or a state of the cluster that changes.
	forTime waiting = "time"

	// forPerson: for a person to change the Artifact, what it refers to or what is in
	// its way. Nothing is gained by waiting longer.
	forPerson waiting = "person"
)

// vocabulary is the set of all reasons, with what an Artifact waits for then.
var vocabulary = map[Reason]waiting{
	RateLimited: forTime, Unavailable: forTime, Evicted: forTime, OutOfMemory: forTime, PodLost: forTime, NotStarted: forTime,
	ImagePull: forTime, ConfigMissing: forTime, WorkspaceUnbound: forTime, QuotaExceeded: forTime, Refused: forTime,
	PermissionMissing: forTime, Unschedulable: forTime, Queued: forTime, QueueUnavailable: forTime, JobNotCreated: forTime,

	Unauthorized: forPerson, Gated: forPerson, NotFound: forPerson, Untrusted: forPerson, NoSpace: forPerson, Mismatch: forPerson,
	Changed: forPerson, Unverified: forPerson, TooOld: forPerson, Unsupported: forPerson, PolicyViolation: forPerson, Internal: forPerson,
	DeadlineExceeded: forPerson, ImageUnusable: forPerson, ConfigInvalid: forPerson, NotAllowed: forPerson, JobFailed: forPerson,
	WorkspaceConflict: forPerson, TagConflict: forPerson, RegistryChanged: forPerson,
}

// Known reports whether r is one of the reasons above. A termination message may
// contain any word.
func (r Reason) Known() bool { return vocabulary[r] != "" }

// Stalls reports whether an Artifact or a config that is not Ready for this reason waits
// for a person: what kstatus calls Stalled. Otherwise it is Reconciling. A reason of
// another version's vocabulary does not stall.
func (r Reason) Stalls() bool { return vocabulary[r] == forPerson }

// transient are the reasons of failures that a retry may fix.
var transient = map[Reason]bool{
	RateLimited: true,
	Unavailable: true,
	Evicted:     true,
	OutOfMemory: true,
	PodLost:     true,
	NotStarted:  true,

	QueueUnavailable: true,
}

// Transient reports whether a failure for this reason is transient, so that the
// same run should be retried.
func (r Reason) Transient() bool { return transient[r] }
