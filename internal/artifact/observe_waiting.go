package artifact

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxCauses bounds how many of the scheduler's causes a message names.
const maxCauses = 5

// imagePullReasons are why the kubelet says that a container waits for its
// image (k8s.io/kubernetes/pkg/kubelet/images/types.go). It goes back and forth
// between the first two.
var imagePullReasons = map[string]bool{
	"ErrImagePull":              true,
	"ImagePullBackOff":          true,
	"ErrImageNeverPull":         true,
	"InvalidImageName":          true,
	"ImageInspectError":         true,
	"RegistryUnavailable":       true,
	"SignatureValidationFailed": true,
}

// imageUseReasons are why the kubelet says that a container does not start
// although its image is there (k8s.io/kubernetes/pkg/kubelet/kuberuntime and
// k8s.io/kubernetes/pkg/kubelet/container).
var imageUseReasons = map[string]bool{
	"CreateContainerError": true,
	"RunContainerError":    true,
}

// nodeCount is what the scheduler writes before each of its causes.
var nodeCount = regexp.MustCompile(`^\d+ (node\(s\) )?`)

// nodesTried is how the scheduler begins where it looked at nodes.
var nodesTried = regexp.MustCompile(`^\d+/\d+ nodes are available:\s*`)

// ObserveWaiting returns why a Job's run does not start, nil where nothing is
// in its way that will not pass in a moment. What is not known, of the
// workspace and of the events of Job, Pod and workspace, may be nil. The
// message stays as it is for as long as the cause does: it holds no time, no
// count and no name of a Pod.
func ObserveWaiting(job *batchv1.Job, pods []corev1.Pod, pvc *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	if job == nil {
		return nil
	}
	pods = podsOf(job, pods)
	if len(pods) == 0 {
		return waitingForPod(job, events)
	}
	for _, waiting := range []func() *outcome.Failure{
		func() *outcome.Failure { return waitingForImage(pods) },
		func() *outcome.Failure { return waitingForConfig(pods) },
		func() *outcome.Failure { return waitingForMount(pods, events) },
		func() *outcome.Failure { return waitingForNode(pods, pvc, events) },
	} {
		f := waiting()
		if name := job.GetAnnotations()[AnnotationCredentials]; f != nil && name != "" && strings.Contains(f.Message, name) {
			// Nobody but the provider can make it.
			return failure(outcome.Errorf(outcome.ConfigMissing, "The Secret with the copy of the run's credentials was deleted: it is made again with the run, at the latest when the run has waited for %s", CopyPatience))
		}
		if f != nil {
			return f
		}
	}
	return nil
}

// waitingForPod returns why the Job controller cannot make a Job's Pod. It goes
// on trying.
func waitingForPod(job *batchv1.Job, events []corev1.Event) *outcome.Failure {
	of := eventsOf(events, job.GetUID())
	refused := latest(of, "FailedCreate")
	if refused == nil || happenedSince(of, refused, "SuccessfulCreate") {
		return nil
	}
	why := strings.TrimPrefix(refused.Message, "Error creating: ")
	return failure(refusedBy("the run's Pod", withoutPodNames(job, why)))
}

// waitingForImage returns why a Pod does not start although it has a node, nil
// where no image is the cause.
func waitingForImage(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		for _, s := range outcome.ContainerStatuses(&pods[i]) {
			w := s.State.Waiting
			switch {
			case w == nil:
			case imagePullReasons[w.Reason]:
				return failure(outcome.Errorf(outcome.ImagePull,
					"Image %q of container %q cannot be pulled: check its name, and job.imagePullSecrets in the ClusterProviderConfig", s.Image, s.Name))
			case imageUseReasons[w.Reason]:
				return failure(unusable(s))
			}
		}
	}
	return nil
}

// unusable says that an image does not hold what its container runs.
func unusable(s corev1.ContainerStatus) error {
	return outcome.Errorf(outcome.ImageUnusable,
		"Image %q of container %q cannot be started: check that it is the right one, for the node's architecture, in the ClusterProviderConfig's job.kitImage or job.workerImage", s.Image, s.Name)
}

// waitingForConfig returns which Secret a container wants for its environment
// and does not get. The kubelet goes on looking for it.
func waitingForConfig(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		for _, s := range outcome.ContainerStatuses(&pods[i]) {
			w := s.State.Waiting
			if w == nil || w.Reason != "CreateContainerConfigError" {
				continue
			}
			if f := missingSecret(w.Message); f != nil {
				return f
			}
			return failure(outcome.Errorf(outcome.ConfigMissing,
				"Container %q cannot be set up (%s): check job.env in the ClusterProviderConfig", s.Name, w.Message))
		}
	}
	return nil
}

// waitingForMount returns which Secret or volume the kubelet cannot mount, as
// the Pod's events say. It goes on trying.
func waitingForMount(pods []corev1.Pod, events []corev1.Event) *outcome.Failure {
	for i := range pods {
		of := eventsOf(events, pods[i].GetUID())
		refused := latest(of, "FailedMount", "FailedAttachVolume")
		if refused == nil || happenedSince(of, refused, "Pulling", "Pulled", "Created", "Started") {
			continue
		}
		// The kubelet says by turns what is missing and which volumes wait.
		for _, e := range of {
			if f := missingSecret(e.Message); f != nil && e.Reason == refused.Reason {
				return f
			}
		}
		return failure(outcome.Errorf(outcome.WorkspaceUnbound,
			"The node cannot mount the volumes of the run's Pod: see the Pod's events with kubectl describe"))
	}
	return nil
}

// Forms in which the kubelet says that a Secret is missing
// (k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go and pkg/volume/secret).
var (
	secretNotFound    = regexp.MustCompile(`secret "([^"]+)" not found`)
	secretWithoutKey  = regexp.MustCompile(`couldn't find key (\S+) in Secret [^/\s]+/(\S+)`)
	secretKeyNotFound = regexp.MustCompile(`references non-existent secret key: ([^\s,\]]+)`)
)

// missingSecret returns what the kubelet says of a Secret that a Pod waits for,
// nil where it speaks of something else.
func missingSecret(message string) *outcome.Failure {
	if m := secretNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "Secret %q, which the run's Pod needs, does not exist: create it, and the run goes on", m[1]))
	}
	if m := secretWithoutKey.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "Secret %q, which the run's Pod needs, has no key %q: add it, and the run goes on", m[2], m[1]))
	}
	if m := secretKeyNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "A Secret that the run's Pod needs has no key %q: add it, and the run goes on", m[1]))
	}
	return nil
}

// waitingForNode returns why the scheduler finds no node for a Pod.
func waitingForNode(pods []corev1.Pod, pvc *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	for i := range pods {
		c := unscheduled(&pods[i])
		if c == nil {
			continue
		}
		causes := schedulerCauses(c.Message)
		// Where a volume is made for the node that is chosen, it waits for the
		// node, and not the other way round.
		if !slices.ContainsFunc(causes, aboutVolumes) && (len(causes) > 0 || pvc == nil) {
			return failure(outcome.Errorf(outcome.Unschedulable,
				"No node takes the run's Pod (%s): change spec.forProvider.job (resources, nodeSelector, tolerations, affinity), or give the cluster such a node", listed(causes)))
		}
		return waitingForVolume(causes, pvc, events)
	}
	return nil
}

// unscheduled returns the condition of a Pod that no node takes.
func unscheduled(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c
		}
	}
	return nil
}

// schedulerCauses returns what the scheduler says of the nodes, without how
// many there are and in an order that stays
// (k8s.io/kubernetes/pkg/scheduler/framework/types.go, FitError).
func schedulerCauses(message string) []string {
	message = nodesTried.ReplaceAllString(message, "")
	// What follows says why evicting others would not help.
	message, _, _ = strings.Cut(message, ". ")
	var causes []string
	for c := range strings.SplitSeq(strings.TrimSuffix(message, "."), ", ") {
		if c = nodeCount.ReplaceAllString(strings.TrimSpace(c), ""); c != "" {
			causes = append(causes, c)
		}
	}
	slices.Sort(causes)
	return slices.Compact(causes)
}

// aboutVolumes says whether a cause of the scheduler's is about volumes.
func aboutVolumes(cause string) bool {
	cause = strings.ToLower(cause)
	for _, part := range []string{"persistentvolume", "persistent volume", "free storage", "storage class", "storageclass"} {
		if strings.Contains(cause, part) {
			return true
		}
	}
	return false
}

// listed returns causes for a message.
func listed(causes []string) string {
	if len(causes) == 0 {
		return "it is not said why"
	}
	return strings.Join(causes[:min(len(causes), maxCauses)], "; ")
}

// waitingForVolume returns why the workspace has no volume, nil where it is
// being made as far as anybody knows.
func waitingForVolume(causes []string, pvc *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	if pvc == nil {
		if slices.ContainsFunc(causes, func(c string) bool { return strings.HasSuffix(c, "not found") }) {
			return failure(outcome.Errorf(outcome.WorkspaceUnbound, "The run's workspace is gone (%s): delete the run's Job, and both are made again", listed(causes)))
		}
		return nil
	}
	name, class := pvc.GetName(), ptr.Deref(pvc.Spec.StorageClassName, "")
	const cure = "write another in spec.forProvider.storage.storageClassName"
	of := eventsOf(events, pvc.GetUID())
	failed := latest(of, "ProvisioningFailed")
	switch {
	case pvc.Status.Phase == corev1.ClaimLost:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q has lost its volume: delete the claim and the run's Job, and both are made again", name))
	case pvc.Status.Phase == corev1.ClaimBound:
		return failure(outcome.Errorf(outcome.Unschedulable, "No node takes the run's Pod with the volume of PersistentVolumeClaim %q (%s): change spec.forProvider.job or spec.forProvider.storage", name, listed(causes)))
	case failed != nil && strings.Contains(failed.Message, fmt.Sprintf("%q not found", class)):
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q asks for StorageClass %q, which does not exist: create it, or %s", name, class, cure))
	case failed != nil:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "StorageClass %q cannot make a volume for PersistentVolumeClaim %q: see the claim's events with kubectl describe, or %s", class, name, cure))
	case class == "" && latest(of, "FailedBinding") != nil:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q asks for no StorageClass, and the cluster has no default one: write one in spec.forProvider.storage.storageClassName", name))
	case latest(of, "FailedBinding") != nil, repeated(latest(of, "ExternalProvisioning")), slices.ContainsFunc(causes, isNoVolume):
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "StorageClass %q has no volume for PersistentVolumeClaim %q: check that its provisioner runs and has room, or %s", class, name, cure))
	}
	return nil
}

// isNoVolume says whether a cause is that no volume is there and none is made.
func isNoVolume(cause string) bool {
	return strings.Contains(cause, "available persistent volumes to bind") || strings.Contains(cause, "free storage")
}

// failure returns an error's reason and message, bounded as all are.
func failure(err error) *outcome.Failure { return outcome.Failed(err).Failure }

// patientRepeats is how often something may be said that is normal at first: a
// claim is looked at about every 15 seconds.
const patientRepeats = 8

// eventsOf returns the events of the object with this UID. An object of the
// same name that is gone is none of ours.
func eventsOf(events []corev1.Event, uid types.UID) []corev1.Event {
	var out []corev1.Event
	for i := range events {
		if events[i].InvolvedObject.UID == uid {
			out = append(out, events[i])
		}
	}
	return out
}

// latest returns the last event with one of these reasons, nil where there is
// none. Of two at the same time the one that sorts last by its name holds, so
// that their order decides nothing.
func latest(events []corev1.Event, reasons ...string) *corev1.Event {
	var out *corev1.Event
	for i := range events {
		e := &events[i]
		if !hasReason(e, reasons) {
			continue
		}
		if out == nil || lastSeen(e).After(lastSeen(out)) || (lastSeen(e).Equal(lastSeen(out)) && e.GetName() > out.GetName()) {
			out = e
		}
	}
	return out
}

func hasReason(e *corev1.Event, reasons []string) bool {
	for _, r := range reasons {
		if e.Reason == r {
			return true
		}
	}
	return false
}

// happenedSince says whether an event with one of these reasons is as late as
// the one before it. Times are whole seconds.
func happenedSince(events []corev1.Event, before *corev1.Event, reasons ...string) bool {
	e := latest(events, reasons...)
	return e != nil && !lastSeen(e).Before(lastSeen(before))
}

// repeated says whether an event was seen more often than is normal.
func repeated(e *corev1.Event) bool {
	if e == nil {
		return false
	}
	if e.Series != nil {
		return e.Series.Count > patientRepeats
	}
	return e.Count > patientRepeats
}

// lastSeen returns when an event was seen last, in whichever of its fields its
// reporter says so, to the second.
func lastSeen(e *corev1.Event) time.Time {
	t := e.CreationTimestamp.Time
	switch {
	case e.Series != nil:
		t = e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		t = e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		t = e.EventTime.Time
	}
	return t.Truncate(time.Second)
}
