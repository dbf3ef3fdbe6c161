package plugin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// podPoll is how often a run's Pod is looked for that has not started yet.
const podPoll = time.Second

// logsCommand returns kubectl kitops logs.
func (c *command) logsCommand() *cobra.Command {
	var follow bool
	var tail int64
	var index int
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show the log of an Artifact's current or last run",
		Long: `Show the log of the Pod of an Artifact's current run, or of its last one.

A run's Pod is kept for an hour after its end. If it is gone, or is in a namespace whose
logs are the administrator's, the last lines that a failed run reported are shown. Those
are in the Artifact's status.

Of a run of several Pods (job.parallelism) it is one that failed, else one that runs; --index
chooses another.`,
		Example:           c.example("$ logs qwen3", "$ logs -f -n models qwen3"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeArtifacts,
		RunE: c.onArtifact(func(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact) error {
			return c.logs(ctx, k, a, index, corev1.PodLogOptions{Follow: follow, TailLines: &tail})
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "Go on showing lines until the run ends; wait for its Pod to start")
	cmd.Flags().IntVar(&index, "index", anyIndex, "Completion index of the Pod, of a run of several; -1 for any")
	cmd.Flags().Int64Var(&tail, "tail", -1, "How many of the last lines to show; -1 for all")
	return cmd
}

// logs shows the log of an Artifact's run, or what its status has of it.
func (c *command) logs(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact, index int, o corev1.PodLogOptions) error {
	ref := a.Status.AtProvider.JobRef
	if ref == nil {
		return c.tail(a, "Artifact %s has no run", keyOf(a))
	}
	for {
		pod, of, err := k.podOf(ctx, ref, index)
		switch {
		case kerrors.IsForbidden(err):
			return c.tail(a, "Your account may not read the run's Pod in namespace %s", ref.Namespace)
		case err != nil:
			return err
		case pod == nil && (!o.Follow || a.Status.AtProvider.CompletionTime != nil):
			return c.tail(a, "Job %s/%s has no %s", ref.Namespace, ref.Name, podWith(index))
		case pod != nil && (!o.Follow || pod.Status.Phase != corev1.PodPending):
			if of > 1 && index == anyIndex {
				c.notef("This is Pod %s (%s), one of %d: --index chooses another.\n", pod.GetName(), pod.Status.Phase, of)
			}
			return c.podLogs(ctx, k, a, pod, o)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(podPoll):
		}
	}
}

// anyIndex stands for the completion index of any Pod.
const anyIndex = -1

// podWith names a Pod with a completion index.
func podWith(index int) string {
	if index == anyIndex {
		return "Pod"
	}
	return fmt.Sprintf("Pod with completion index %d", index)
}

// podOf returns the Pod of a Job, or of several the one that is of most interest, and how many
// there are with different completion indexes; nil if there is none.
func (k *cluster) podOf(ctx context.Context, ref *modelv1alpha1.JobReference, index int) (pod *corev1.Pod, of int, err error) {
	set := labels.Set{jobNameLabel: ref.Name}
	if index != anyIndex {
		set[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(index)
	}
	selector, err := labels.ValidatedSelectorFromSet(set)
	if err != nil {
		return nil, 0, errors.Wrap(err, "status.atProvider.jobRef names no Job")
	}
	pods, err := listAs[corev1.Pod](ctx, k.Resource(podResource).Namespace(ref.Namespace),
		metav1.ListOptions{LabelSelector: selector.String()}, "Pods in namespace "+ref.Namespace)
	if err != nil || len(pods) == 0 {
		return nil, 0, err
	}
	// Pods that the cluster evicted are replaced: the latest of each index counts.
	latest := map[string]corev1.Pod{}
	for _, p := range pods {
		index := p.GetLabels()[batchv1.JobCompletionIndexAnnotation]
		if before, ok := latest[index]; !ok || before.CreationTimestamp.Before(&p.CreationTimestamp) {
			latest[index] = p
		}
	}
	first := slices.MinFunc(slices.Collect(maps.Values(latest)), byNeed)
	return &first, len(latest), nil
}

// byNeed orders Pods by what people look for: those that failed, those that run, and then
// others; the first by name of each.
func byNeed(a, b corev1.Pod) int {
	rank := map[corev1.PodPhase]int{corev1.PodFailed: 0, corev1.PodRunning: 1, corev1.PodPending: 2, corev1.PodSucceeded: 3}
	return cmp.Or(cmp.Compare(rank[a.Status.Phase], rank[b.Status.Phase]), cmp.Compare(a.GetName(), b.GetName()))
}

// jobNameLabel is the label of a Job's Pods with its name
// (https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name).
const jobNameLabel = "batch.kubernetes.io/job-name"

// podLogs shows the log of a Pod's first container, which is the run's.
func (c *command) podLogs(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact, pod *corev1.Pod, o corev1.PodLogOptions) error {
	if len(pod.Spec.Containers) == 0 {
		return errors.Errorf("Pod %s/%s has no container", pod.GetNamespace(), pod.GetName())
	}
	client, err := k.raw()
	if err != nil {
		return err
	}
	request := client.Get().AbsPath("/api/v1/namespaces", pod.GetNamespace(), "pods", pod.GetName(), "log").
		Param("container", pod.Spec.Containers[0].Name).Param("follow", strconv.FormatBool(o.Follow))
	if *o.TailLines >= 0 {
		request.Param("tailLines", strconv.FormatInt(*o.TailLines, 10))
	}
	lines, err := request.Stream(ctx)
	switch {
	case kerrors.IsForbidden(err):
		return c.tail(a, "Your account may not read the log of Pod %s/%s", pod.GetNamespace(), pod.GetName())
	case kerrors.IsNotFound(err):
		return c.tail(a, "Pod %s/%s is gone", pod.GetNamespace(), pod.GetName())
	case err != nil:
		return errors.Wrapf(err, "cannot read the log of Pod %s/%s", pod.GetNamespace(), pod.GetName())
	}
	defer func() { _ = lines.Close() }()
	if _, err := io.Copy(c.out, lines); err != nil && ctx.Err() == nil {
		return errors.Wrapf(err, "cannot read the log of Pod %s/%s", pod.GetNamespace(), pod.GetName())
	}
	return nil
}

// tail shows the last lines of the log that an Artifact's status has, and on the standard
// error why there are no others. It returns an error if the status has none.
func (c *command) tail(a *modelv1alpha1.Artifact, why string, args ...any) error {
	why = fmt.Sprintf(why, args...)
	f := a.Status.AtProvider.Failure
	if f == nil || len(f.LogTail) == 0 {
		return errors.Errorf("%s, and its status has no lines of a log: %s why %s -n %s shows what is known", why, c.name, a.GetName(), a.GetNamespace())
	}
	c.notef("%s: these are the last lines that run %d reported.\n", why, a.Status.AtProvider.Run)
	for _, line := range f.LogTail {
		c.printf("%s\n", line)
	}
	return nil
}

// raw returns a client for answers that are no objects.
func (k *cluster) raw() (*rest.RESTClient, error) {
	config := rest.CopyConfig(k.config)
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	return client, errors.Wrap(err, "cannot create a client of the cluster")
}
