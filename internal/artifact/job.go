package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A jobOverride sets one aspect of a Job.
type jobOverride func(*batchv1.Job)

// BuildJob returns the Job of a run of the Artifact: in kitImage for pipeline Kit, in
// the worker's image for Stream. It has these labels and those of the job settings,
// a GenerateName, and no owner. It contains no secrets: credentials are referred to.
func BuildJob(artifact *modelv1alpha1.Artifact, kitImage string, labels map[string]string) *batchv1.Job {
	// The Job must not share memory with the Artifact.
	artifact = artifact.DeepCopy()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: generateName(artifact.GetName()),
			Namespace:    RunNamespace(artifact),
		},
	}
	for _, override := range []jobOverride{
		jobRunsOnce(),
		jobWithRestrictedPod(artifact.Effective.Pod.PodSecurityContext),
		jobWithPipeline(artifact, kitImage),
		jobWithShares(NextShares(artifact), partsOf(artifact), int(artifact.Effective.MaxPods)),
		jobWithSourceVolume(artifact),
		jobWithCredentials(artifact),
		jobWithSettings(settingsFor(artifact)),
		jobWithPartialAdmission(),
		jobWithAdministration(artifact.Effective),
		jobWithSpread(artifact),
		// The hash covers all that decides whether, where and how the Pod starts.
		jobWithBuildHash(),
		jobWithTTL(artifact.Effective.Pod.TTLSecondsAfterFinished),
		jobWithQueue(),
		jobWithProgress(),
		jobWithMounts(artifact),
		jobWithPolicy(artifact),
		jobWithVerifiedFiles(artifact),
		// Last, since nothing may replace what objects are selected by.
		jobWithMetadata(merged(labels, identityLabels(artifact)), metadataFor(artifact)),
		jobWithCloudIdentity(artifact),
	} {
		override(job)
	}
	return job
}

// metadataFor returns the annotations that identify a Job and its Pod.
func metadataFor(a *modelv1alpha1.Artifact) map[string]string {
	annotations := runOf(a).Annotations()
	annotations[AnnotationArtifact] = a.GetName()
	annotations[AnnotationGeneration] = strconv.FormatInt(a.GetGeneration(), 10)
	annotations[AnnotationReference] = OCIReference(a)
	if a.Effective.ConfigHash != "" {
		annotations[AnnotationConfigHash] = a.Effective.ConfigHash
	}
	return merged(annotations, identityAnnotations(a))
}

// runOf returns the run that an Artifact's Job is for.
func runOf(a *modelv1alpha1.Artifact) Run {
	return Run{Hash: RunHash(a), Number: max(RunOf(a).Number, 1)}
}

// jobRunsOnce leaves retries to the controller, which knows transient errors.
func jobRunsOnce() jobOverride {
	return func(j *batchv1.Job) {
		j.Spec.BackoffLimit = ptr.To[int32](0)
		j.Spec.TTLSecondsAfterFinished = ptr.To(DefaultJobTTLSeconds)
		// Two Pods of one run must never run at the same time.
		j.Spec.PodReplacementPolicy = ptr.To(batchv1.Failed)
		j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
}

// jobWithRestrictedPod satisfies the restricted Pod security standard
// (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
func jobWithRestrictedPod(identity *v1alpha1.PodSecurityContext) jobOverride {
	return func(j *batchv1.Job) {
		pod := &j.Spec.Template.Spec
		pod.AutomountServiceAccountToken = ptr.To(false)
		pod.EnableServiceLinks = ptr.To(false)
		pod.SecurityContext = securityContext(identity)
	}
}

// securityContext returns who a run's Pod is: the default user, or what an administrator
// has set, and no more than that. An ID that is not set is assigned by the cluster, as by
// OpenShift's SecurityContextConstraints, or is the image's.
func securityContext(identity *v1alpha1.PodSecurityContext) *corev1.PodSecurityContext {
	if identity == nil {
		// A number, so that the kubelet can verify that it is not root's.
		id := v1alpha1.DefaultUserID
		identity = &v1alpha1.PodSecurityContext{RunAsUser: &id, RunAsGroup: &id, FSGroup: &id}
	}
	return &corev1.PodSecurityContext{
		RunAsNonRoot:       ptr.To(true),
		RunAsUser:          identity.RunAsUser,
		RunAsGroup:         identity.RunAsGroup,
		FSGroup:            identity.FSGroup,
		SupplementalGroups: identity.SupplementalGroups,
		SELinuxOptions:     identity.SELinuxOptions,
		// The files of a large workspace are not all visited at each start.
		FSGroupChangePolicy: ptr.To(cmp.Or(identity.FSGroupChangePolicy, corev1.FSGroupChangeOnRootMismatch)),
		SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// restrictedContainer returns a container that satisfies the restricted Pod security
// standard, with a read-only root file system.
func restrictedContainer(name, image string) corev1.Container {
	return corev1.Container{
		Name:  name,
		Image: image,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			RunAsNonRoot:             ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("100m"),
			corev1.ResourceMemory: resource.MustParse("256Mi"),
		}},
	}
}

// jobWithSettings applies the job settings.
func jobWithSettings(s v1alpha1.JobSettings) jobOverride {
	return func(j *batchv1.Job) {
		j.Spec.ActiveDeadlineSeconds = s.ActiveDeadlineSeconds
		j.Labels = maps.Clone(s.Labels)
		j.Annotations = maps.Clone(s.Annotations)
		j.Spec.Template.Labels = maps.Clone(s.Labels)
		j.Spec.Template.Annotations = maps.Clone(s.Annotations)

		pod := &j.Spec.Template.Spec
		pod.NodeSelector = s.NodeSelector
		pod.Tolerations = s.Tolerations
		pod.Affinity = s.Affinity
		pod.PriorityClassName = s.PriorityClassName
		if s.Resources == nil {
			return
		}
		for _, c := range containersOf(pod) {
			c.Resources = *s.Resources
		}
	}
}

// settingsFor returns the Artifact's job settings with its ProviderConfig's as
// defaults. Of runs in an administrator's namespace, what the config sets of node
// selector, labels and annotations stays: a tenant must not have the administrator's
// credentials mounted on other nodes, nor leave a mesh or a queue.
func settingsFor(a *modelv1alpha1.Artifact) v1alpha1.JobSettings {
	out := v1alpha1.JobSettings{}
	for _, s := range []*v1alpha1.JobSettings{a.Effective.Job, a.Spec.ForProvider.Job} {
		if s == nil {
			continue
		}
		s = s.DeepCopy()
		out.Resources = cmp.Or(s.Resources, out.Resources)
		out.Affinity = cmp.Or(s.Affinity, out.Affinity)
		out.PriorityClassName = cmp.Or(s.PriorityClassName, out.PriorityClassName)
		out.ActiveDeadlineSeconds = cmp.Or(s.ActiveDeadlineSeconds, out.ActiveDeadlineSeconds)
		out.ParallelLayers = cmp.Or(s.ParallelLayers, out.ParallelLayers)
		out.BufferSize = cmp.Or(s.BufferSize, out.BufferSize)
		out.Parallelism = cmp.Or(s.Parallelism, out.Parallelism)
		if s.NodeSelector != nil {
			out.NodeSelector = s.NodeSelector
		}
		if s.Tolerations != nil {
			out.Tolerations = s.Tolerations
		}
		out.Labels = merged(out.Labels, s.Labels)
		out.Annotations = merged(out.Annotations, s.Annotations)
	}
	if queue := queueOf(a.Effective.Job); queue != "" && out.Labels[LabelQueueName] == "" {
		// An Artifact may name another queue of its namespace, but leave none.
		out.Labels = merged(out.Labels, map[string]string{LabelQueueName: queue})
	}
	if config := a.Effective.Job; config != nil && isolated(a) {
		out.NodeSelector = merged(out.NodeSelector, config.NodeSelector)
		out.Labels = merged(out.Labels, config.Labels)
		out.Annotations = merged(out.Annotations, config.Annotations)
	}
	return out
}

// jobWithAdministration applies settings that only the cluster's administrator may
// choose.
func jobWithAdministration(e modelv1alpha1.Effective) jobOverride {
	return func(j *batchv1.Job) {
		pod := &j.Spec.Template.Spec
		pod.ServiceAccountName = e.ServiceAccountName
		pod.ImagePullSecrets = e.ImagePullSecrets
		pod.HostAliases = e.HostAliases
		if e.Pod.RuntimeClassName != "" {
			pod.RuntimeClassName = &e.Pod.RuntimeClassName
		}
		pod.SchedulerName = e.Pod.SchedulerName
		pod.TopologySpreadConstraints = e.Pod.TopologySpreadConstraints
		for i := range pod.TopologySpreadConstraints {
			if c := &pod.TopologySpreadConstraints[i]; c.LabelSelector == nil {
				// A constraint without one would count no Pods.
				c.LabelSelector = &metav1.LabelSelector{MatchLabels: CommonLabels()}
			}
		}
		for i := range pod.Containers {
			// The last of two values wins: the provider's own.
			pod.Containers[i].Env = append(append([]corev1.EnvVar{}, e.Env...), pod.Containers[i].Env...)
		}
	}
}

// jobWithTTL sets how long the Job is kept after its end, if that is not the default. It
// is not part of the build hash, since it decides nothing of whether the Pod starts.
func jobWithTTL(seconds *int32) jobOverride {
	return func(j *batchv1.Job) {
		j.Spec.TTLSecondsAfterFinished = cmp.Or(seconds, j.Spec.TTLSecondsAfterFinished)
	}
}

// jobWithBuildHash annotates the Job with hashes of what is requested, for sameBuild:
// admission may change the Job itself.
func jobWithBuildHash() jobOverride {
	return func(j *batchv1.Job) {
		images := imagesOf(j)
		spec := j.Spec.DeepCopy()
		for _, c := range containersOf(&spec.Template.Spec) {
			c.Image = ""
		}
		j.Annotations = merged(j.Annotations, map[string]string{
			AnnotationBuildHash:  hashOf(spec),
			AnnotationImagesHash: hashOf(images),
		})
	}
}

// sameBuild reports whether the hashes in this annotation of two objects are equal:
// whether the same was requested.
func sameBuild(there, wanted metav1.Object, annotation string) bool {
	return there.GetAnnotations()[annotation] == wanted.GetAnnotations()[annotation]
}

// hashOf returns a hash of a value's JSON.
func hashOf(v any) string {
	// Parts of Kubernetes objects can always be encoded.
	out, _ := json.Marshal(v) //nolint:errchkjson // See above.
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:8])
}

// imagesOf returns the images of a Job's containers in their starting order.
func imagesOf(job *batchv1.Job) []string {
	var out []string
	for _, c := range containersOf(&job.Spec.Template.Spec) {
		out = append(out, c.Image)
	}
	return out
}

// containersOf returns all containers of a Pod in their starting order.
func containersOf(pod *corev1.PodSpec) []*corev1.Container {
	out := make([]*corev1.Container, 0, len(pod.InitContainers)+len(pod.Containers))
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			out = append(out, &containers[i])
		}
	}
	return out
}

// jobWithMetadata sets labels and annotations of the Job and its Pod.
func jobWithMetadata(labels, annotations map[string]string) jobOverride {
	return func(j *batchv1.Job) {
		for _, m := range []*metav1.ObjectMeta{&j.ObjectMeta, &j.Spec.Template.ObjectMeta} {
			m.Labels = merged(m.Labels, labels)
			m.Annotations = merged(m.Annotations, annotations)
		}
	}
}

// merged returns the entries of both maps. Those of b take precedence.
func merged(a, b map[string]string) map[string]string {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := make(map[string]string, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// labelAzureIdentity has the webhook of Azure give a Pod the identity of its service
// account
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
// Those of other clouds look at the service account alone.
const labelAzureIdentity = "azure.workload.identity/use"

// jobWithCloudIdentity labels the Pod for the cloud whose identity the run uses.
func jobWithCloudIdentity(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		s := a.Spec.ForProvider.Source
		ofSource := a.Effective.SourceIdentity && s != nil && s.AzureBlob != nil
		if ofSource || a.Effective.RegistryIdentity == identity.Azure {
			j.Spec.Template.Labels = merged(j.Spec.Template.Labels, map[string]string{labelAzureIdentity: "true"})
		}
	}
}

// jobWithMounts passes the artifacts that may have the same blobs to the worker.
func jobWithMounts(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		if len(a.Effective.MountFrom) == 0 {
			return
		}
		c := &j.Spec.Template.Spec.Containers[0]
		c.Env = append(c.Env, corev1.EnvVar{Name: outcome.EnvMountFrom, Value: strings.Join(literal(a.Effective.MountFrom), "\n")})
	}
}

// jobWithPolicy passes what the run may package to the worker. It is not part of the
// build hash, since a changed policy replaces no Job: what the run stages is checked
// again before it is committed.
func jobWithPolicy(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		if a.Effective.Policy == "" {
			return
		}
		c := &j.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, literal([]string{"--policy=" + a.Effective.Policy})...)
	}
}

// jobWithVerifiedFiles passes the list of files that the Artifact's last run has pushed to the
// worker, which knows the digests of small files by it. It is not part of the build hash, since
// it decides only how long the run takes. A list in another repository than the target is of
// no use, and one of another model or Hub says what that one served. One that another account
// pushed is never recorded.
func jobWithVerifiedFiles(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		s := a.Status.AtProvider
		d := digest.Digest(s.FileList)
		if Pipeline(a) != modelv1alpha1.PipelineStream || d.Validate() != nil || d.Algorithm() != digest.SHA256 ||
			!strings.HasPrefix(s.PinnedReference, Registry(a)+"/"+Repository(a)+"@") || !isOfSource(a, HubOf(j)) {
			return
		}
		c := &j.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, "--verified-files="+d.String())
	}
}

// isOfSource reports whether what was pushed is of the Artifact's model or dataset, from this
// Hub, which its next run reads. Other sources announce no hash of git's.
func isOfSource(a *modelv1alpha1.Artifact, hub string) bool {
	was := a.Status.AtProvider.Source
	return hub != "" && was != nil && was.URL == hub+HubPage(a)
}

// jobWithProgress has the worker serve the run's progress on a port of the Pod.
func jobWithProgress() jobOverride {
	return func(j *batchv1.Job) {
		// Pods have one container beside init containers.
		c := &j.Spec.Template.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{
			Name:          outcome.ProgressPortName,
			ContainerPort: outcome.ProgressPort,
			Protocol:      corev1.ProtocolTCP,
		}}
		c.Env = append(c.Env, corev1.EnvVar{
			Name:  outcome.EnvProgressAddress,
			Value: net.JoinHostPort("", strconv.Itoa(outcome.ProgressPort)),
		})
	}
}
