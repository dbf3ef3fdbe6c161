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

// maxCauses is the number of the scheduler's causes in a message.
const maxCauses = 5

// imagePullReasons are the kubelet's reasons for a container that waits for its image
// (k8s.io/kubernetes/pkg/kubelet/images/types.go). It alternates between the first two.
var imagePullReasons = map[string]bool{
	"ErrImagePull":              true,
	"ImagePullBackOff":          true,
	"ErrImageNeverPull":         true,
	"InvalidImageName":          true,
	"ImageInspectError":         true,
	"RegistryUnavailable":       true,
	"SignatureValidationFailed": true,
}

// imageUseReasons are the kubelet's reasons for a container that does not start
// although its image is present (k8s.io/kubernetes/pkg/kubelet/kuberuntime and
// k8s.io/kubernetes/pkg/kubelet/container).
var imageUseReasons = map[string]bool{
	"CreateContainerError": true,
	"RunContainerError":    true,
}

// nodeCount matches the beginning of each of the scheduler's causes.
var nodeCount = regexp.MustCompile(`^\d+ (node\(s\) )?`)

// nodesTried matches the beginning of the scheduler's message about nodes.
var nodesTried = regexp.MustCompile(`^\d+/\d+ nodes are available:\s*`)

// ObserveWaiting returns why a Job's run does not start; nil if nothing but a moment's
// wait is needed. Workspace and events may be nil if they are unknown. The message
// does not change while the cause stays the same: it has no time, no count and no
// name of a Pod.
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
		func() *outcome.Failure { return waitingForSource(pods, pvc, events) },
		func() *outcome.Failure { return waitingForMount(pods, events) },
		func() *outcome.Failure { return waitingForNode(pods, pvc, events) },
	} {
		f := waiting()
		if name := job.GetAnnotations()[AnnotationCredentials]; f != nil && name != "" && strings.Contains(f.Message, name) {
			// Only the provider can create it.
			return failure(outcome.Errorf(outcome.ConfigMissing, "The Secret with the run's copied credentials was deleted: it is recreated when the run is, after %s at most", CopyTimeout))
		}
		if f != nil {
			return f
		}
	}
	return nil
}

// waitingForPod returns why the Job controller cannot create a Job's Pod. It retries.
func waitingForPod(job *batchv1.Job, events []corev1.Event) *outcome.Failure {
	of := eventsOf(events, job.GetUID())
	refused := latest(of, "FailedCreate")
	if refused == nil || happenedSince(of, refused, "SuccessfulCreate") {
		return nil
	}
	why := strings.TrimPrefix(refused.Message, "Error creating: ")
	return failure(refusedBy("the run's Pod", withoutPodNames(job, why)))
}

// waitingForImage returns which image keeps a Pod with a node from starting, or nil.
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

// unusable returns the failure of a container whose command cannot be started.
func unusable(s corev1.ContainerStatus) error {
	return outcome.Errorf(outcome.ImageUnusable,
		"Image %q of container %q cannot be started: check that job.kitImage and job.workerImage of the ClusterProviderConfig name the right images, for the node's architecture", s.Image, s.Name)
}

// waitingForConfig returns which Secret for a container's environment is missing. The
// kubelet retries.
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

// waitingForMount returns which Secret, ConfigMap or volume the kubelet cannot mount, from the
// Pod's events. The kubelet retries.
func waitingForMount(pods []corev1.Pod, events []corev1.Event) *outcome.Failure {
	for i := range pods {
		of := eventsOf(events, pods[i].GetUID())
		refused := latest(of, "FailedMount", "FailedAttachVolume")
		if refused == nil || happenedSince(of, refused, "Pulling", "Pulled", "Created", "Started") {
			continue
		}
		// The kubelet's events name the missing object and the waiting volumes in turn.
		for _, e := range of {
			f := missingSecret(e.Message)
			if f == nil {
				f = missingConfigMap(e.Message)
			}
			if f != nil && e.Reason == refused.Reason {
				return f
			}
		}
		return failure(outcome.Errorf(outcome.WorkspaceUnbound,
			"The node cannot mount the volumes of the run's Pod: see the Pod's events with kubectl describe"))
	}
	return nil
}

// The kubelet's messages about missing Secrets
// (k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go and pkg/volume/secret).
var (
	secretNotFound    = regexp.MustCompile(`secret "([^"]+)" not found`)
	secretWithoutKey  = regexp.MustCompile(`couldn't find key (\S+) in Secret [^/\s]+/(\S+)`)
	secretKeyNotFound = regexp.MustCompile(`references non-existent secret key: ([^\s,\]]+)`)
)

// missingSecret returns the failure for the kubelet's message about a missing Secret;
// nil for other messages.
func missingSecret(message string) *outcome.Failure {
	if m := secretNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "Secret %q, which the run's Pod needs, does not exist: create it, and the run continues", m[1]))
	}
	if m := secretWithoutKey.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "Secret %q, which the run's Pod needs, has no key %q: add it, and the run continues", m[2], m[1]))
	}
	if m := secretKeyNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "A Secret that the run's Pod needs has no key %q: add it, and the run continues", m[1]))
	}
	return nil
}

// The kubelet's messages about missing ConfigMaps (k8s.io/kubernetes/pkg/volume).
var (
	configMapNotFound    = regexp.MustCompile(`configmap "([^"]+)" not found`)
	configMapKeyNotFound = regexp.MustCompile(`references non-existent config key: ([^\s,\]]+)`)
)

// missingConfigMap returns the failure for the kubelet's message about a missing
// ConfigMap; nil for other messages.
func missingConfigMap(message string) *outcome.Failure {
	if m := configMapNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "ConfigMap %q, which the run's Pod needs, does not exist: create it, and the run continues", m[1]))
	}
	if m := configMapKeyNotFound.FindStringSubmatch(message); m != nil {
		return failure(outcome.Errorf(outcome.ConfigMissing, "A ConfigMap that the run's Pod needs has no key %q: add it, and the run continues", m[1]))
	}
	return nil
}

// waitingForNode returns why the scheduler finds no node for a Pod, or nil.
func waitingForNode(pods []corev1.Pod, pvc *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	for i := range pods {
		c := unscheduled(&pods[i])
		if c == nil {
			continue
		}
		causes := schedulerCauses(c.Message)
		// A volume that is provisioned for the selected node waits for the node, and
		// not the other way round.
		if !slices.ContainsFunc(causes, aboutVolumes) && (len(causes) > 0 || pvc == nil) {
			return failure(outcome.Errorf(outcome.Unschedulable,
				"No node fits the run's Pod (%s): change spec.forProvider.job (resources, nodeSelector, tolerations, affinity), or add such a node to the cluster", listed(causes)))
		}
		return waitingForVolume(causes, pvc, events)
	}
	return nil
}

// unscheduled returns the condition of a Pod that has no node, or nil.
func unscheduled(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c
		}
	}
	return nil
}

// schedulerCauses returns the causes in the scheduler's message, without the numbers of
// nodes and sorted
// (k8s.io/kubernetes/pkg/scheduler/framework/types.go, FitError).
func schedulerCauses(message string) []string {
	message = nodesTried.ReplaceAllString(message, "")
	// The rest says why evicting others would not help.
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

// aboutVolumes reports whether a cause of the scheduler is about volumes.
func aboutVolumes(cause string) bool {
	cause = strings.ToLower(cause)
	for _, part := range []string{"persistentvolume", "persistent volume", "free storage", "storage class", "storageclass"} {
		if strings.Contains(cause, part) {
			return true
		}
	}
	return false
}

// listed returns the first causes, for a message.
func listed(causes []string) string {
	if len(causes) == 0 {
		return "no cause is given"
	}
	return strings.Join(causes[:min(len(causes), maxCauses)], "; ")
}

// waitingForVolume returns why the workspace has no volume; nil if it seems to be being
// provisioned.
func waitingForVolume(causes []string, pvc *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	if pvc == nil {
		if slices.ContainsFunc(causes, func(c string) bool { return strings.HasSuffix(c, "not found") }) {
			return failure(outcome.Errorf(outcome.WorkspaceUnbound, "The run's workspace is missing (%s): delete the run's Job, and both are recreated", listed(causes)))
		}
		return nil
	}
	name, class := pvc.GetName(), ptr.Deref(pvc.Spec.StorageClassName, "")
	const cure = "set another in spec.forProvider.storage.storageClassName"
	of := eventsOf(events, pvc.GetUID())
	failed := latest(of, "ProvisioningFailed")
	switch {
	case pvc.Status.Phase == corev1.ClaimLost:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q has lost its volume: delete the claim and the run's Job, and both are recreated", name))
	case pvc.Status.Phase == corev1.ClaimBound:
		return failure(outcome.Errorf(outcome.Unschedulable, "No node fits the run's Pod with the volume of PersistentVolumeClaim %q (%s): change spec.forProvider.job or spec.forProvider.storage", name, listed(causes)))
	case failed != nil && strings.Contains(failed.Message, fmt.Sprintf("%q not found", class)):
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q asks for StorageClass %q, which does not exist: create it, or %s", name, class, cure))
	case failed != nil:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "StorageClass %q cannot provision a volume for PersistentVolumeClaim %q: see the claim's events with kubectl describe, or %s", class, name, cure))
	case class == "" && latest(of, "FailedBinding") != nil:
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "PersistentVolumeClaim %q asks for no StorageClass, and the cluster has no default one: set one in spec.forProvider.storage.storageClassName", name))
	case latest(of, "FailedBinding") != nil, repeated(latest(of, "ExternalProvisioning")), slices.ContainsFunc(causes, isNoVolume):
		return failure(outcome.Errorf(outcome.WorkspaceUnbound, "StorageClass %q has no volume for PersistentVolumeClaim %q: check that its provisioner runs and has room, or %s", class, name, cure))
	}
	return nil
}

// isNoVolume reports whether a cause is that there is no volume and none is provisioned.
func isNoVolume(cause string) bool {
	return strings.Contains(cause, "available persistent volumes to bind") || strings.Contains(cause, "free storage")
}

// failure returns an error's reason and message, with the limits of outcome.Failed.
func failure(err error) *outcome.Failure { return outcome.Failed(err).Failure }

// normalRepeats is the number of repeats of an event that is normal at first. The
// kubelet and the provisioners repeat it about every 15 seconds.
const normalRepeats = 8

// eventsOf returns the events of the object with this UID, not those of an earlier
// object with its name.
func eventsOf(events []corev1.Event, uid types.UID) []corev1.Event {
	var out []corev1.Event
	for i := range events {
		if events[i].InvolvedObject.UID == uid {
			out = append(out, events[i])
		}
	}
	return out
}

// latest returns the last event with one of these reasons, or nil. Of two at the same
// time it is the one whose name sorts last, whatever their order.
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

// happenedSince reports whether there is an event with one of these reasons that is
// not older than the other, in whole seconds.
func happenedSince(events []corev1.Event, before *corev1.Event, reasons ...string) bool {
	e := latest(events, reasons...)
	return e != nil && !lastSeen(e).Before(lastSeen(before))
}

// repeated reports whether an event was repeated more often than is normal.
func repeated(e *corev1.Event) bool {
	if e == nil {
		return false
	}
	if e.Series != nil {
		return e.Series.Count > normalRepeats
	}
	return e.Count > normalRepeats
}

// lastSeen returns the time of an event's last occurrence, from whichever field its
// reporter sets, in whole seconds.
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
