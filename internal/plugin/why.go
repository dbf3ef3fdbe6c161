package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/duration"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/docs/runbooks"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// maxEvents is how many events are shown: the latest.
const maxEvents = 10

// whyCommand returns kubectl kitops why.
func (c *command) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why NAME",
		Short: "Explain why an Artifact is not ready, and what to do",
		Long: `Explain the state of an Artifact: its conditions, what their reason means and what to do
about it, the events of the Artifact, its Job and its Pod, and how many runs are before it
in the queue.`,
		Example:           c.example("$ why qwen3"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeArtifacts,
		RunE: c.onArtifact(func(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact) error {
			c.explain(ctx, k, a, time.Now())
			return nil
		}),
	}
}

// explain shows why an Artifact is as it is. What cannot be read is left out, and said.
func (c *command) explain(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact, now time.Time) {
	c.headline(a, now)
	c.runbook(a)
	c.run(a, now)
	c.place(ctx, k, a, now)
	c.conditions(a, now)
	c.events(ctx, k, a, now)
}

// headline says in a line what state an Artifact is in, and then why.
func (c *command) headline(a *modelv1alpha1.Artifact, now time.Time) {
	ready := a.GetCondition(xpv2.TypeReady)
	reason, since := terminal.Line(string(ready.Reason)), age(ready.LastTransitionTime, now)
	switch {
	case ready.Status == corev1.ConditionTrue:
		c.printf("Artifact %s is ready (for %s).\n", keyOf(a), since)
	case ready.Reason == "":
		c.printf("Artifact %s was not looked at yet: the provider may be down, or restricted to other namespaces.\n", keyOf(a))
	default:
		c.printf("Artifact %s is not ready (for %s): %s\n", keyOf(a), since, reason)
	}
	if a.GetAnnotations()[annotationPaused] == "true" {
		c.printf("It is paused by its annotation %s.\n", annotationPaused)
	}
	if ready.Message != "" {
		c.printf("\n  %s\n", terminal.Line(ready.Message))
	}
}

// runbook shows meaning and cure of why an Artifact is not ready, and where the rest is.
func (c *command) runbook(a *modelv1alpha1.Artifact) {
	ready := a.GetCondition(xpv2.TypeReady)
	found, ok := runbooks.Failure(string(ready.Reason))
	if f := a.Status.AtProvider.Failure; !ok && f != nil && ready.Status != corev1.ConditionTrue {
		found, ok = runbooks.Failure(f.Reason)
	}
	if !ok {
		return
	}
	c.printf("\n")
	c.field("Meaning", found.Reason+": "+found.Means)
	c.field("To do", found.Cure)
	c.field("Retried", c.retried(a, found))
	c.field("Runbook", found.URL())
}

// retried returns whether and when a run is retried.
func (c *command) retried(a *modelv1alpha1.Artifact, r runbooks.Runbook) string {
	s := a.Status.AtProvider
	if s.Phase != modelv1alpha1.PhaseFailed || s.Failure == nil {
		return r.Retried
	}
	if next := s.Failure.NextTryTime; next != nil {
		return fmt.Sprintf("%s, at %s; at once with %s retry %s -n %s", r.Retried, next.UTC().Format(time.RFC3339), c.name, a.GetName(), a.GetNamespace())
	}
	if r.Retried == "no" {
		return fmt.Sprintf("not before its spec, config or a Secret changes; by hand with %s retry %s -n %s", c.name, a.GetName(), a.GetNamespace())
	}
	return r.Retried
}

// field prints one fact.
func (c *command) field(name, value string) { c.printf("%-9s %s\n", name, terminal.Line(value)) }

// run shows what is known of an Artifact's latest run.
func (c *command) run(a *modelv1alpha1.Artifact, now time.Time) {
	s := a.Status.AtProvider
	if s.Run == 0 {
		return
	}
	parts := []string{fmt.Sprintf("%d, %s", s.Run, cmp.Or(string(s.Phase), "Pending"))}
	if s.Progress != nil {
		parts = append(parts, progressText(a, s.Progress))
	}
	if s.Shares != nil {
		parts = append(parts, fmt.Sprintf("%d of %d Pods have finished", len(s.Shares.Done), s.Shares.Of))
	}
	if s.StartTime != nil {
		parts = append(parts, "started "+age(*s.StartTime, now)+" ago")
	}
	if s.CompletionTime != nil {
		parts = append(parts, "ended "+age(*s.CompletionTime, now)+" ago")
	}
	if s.Failures > 1 {
		parts = append(parts, fmt.Sprintf("%d failed in a row", s.Failures))
	}
	c.printf("\n")
	c.field("Run", strings.Join(parts, ", "))
	if ref := s.JobRef; ref != nil {
		c.field("Job", ref.Namespace+"/"+ref.Name)
		c.field("Log", fmt.Sprintf("%s logs %s -n %s", c.name, a.GetName(), a.GetNamespace()))
	}
	if s.PinnedReference != "" {
		c.field("Artifact", s.PinnedReference)
	}
}

// conditions shows all conditions.
func (c *command) conditions(a *modelv1alpha1.Artifact, now time.Time) {
	if len(a.Status.Conditions) == 0 {
		return
	}
	c.printf("\nConditions\n")
	for _, one := range a.Status.Conditions {
		c.printf("  %-16s %-6s %-20s %-6s %s\n", terminal.Line(string(one.Type)), terminal.Line(string(one.Status)), terminal.Line(string(one.Reason)), age(one.LastTransitionTime, now), terminal.Line(one.Message))
	}
}

// events shows the latest events of an Artifact, and of its run's Job and Pod.
func (c *command) events(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact, now time.Time) {
	events, err := k.eventsOf(ctx, a.GetNamespace(), "involvedObject.uid", string(a.GetUID()))
	if err != nil {
		c.notef("\nNo events: %s\n", err)
		return
	}
	events = append(events, c.eventsOfRun(ctx, k, a)...)
	if len(events) == 0 {
		return
	}
	slices.SortStableFunc(events, func(x, y corev1.Event) int { return lastSeen(&x).Compare(lastSeen(&y).Time) })
	events = events[max(0, len(events)-maxEvents):]
	c.printf("\nEvents\n")
	for i := range events {
		e := &events[i]
		count := ""
		if e.Count > 1 {
			count = fmt.Sprintf(" (%d times)", e.Count)
		}
		c.printf("  %-6s %-8s %-10s %-20s %s%s\n", age(lastSeen(e), now), terminal.Line(e.Type), terminal.Line(e.InvolvedObject.Kind), terminal.Line(e.Reason), terminal.Line(e.Message), count)
	}
}

// eventsOfRun returns the events of the Job and the Pod of an Artifact's run. Without the
// right to read them, as of isolated runs, there are none.
func (c *command) eventsOfRun(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact) []corev1.Event {
	ref := a.Status.AtProvider.JobRef
	if ref == nil {
		return nil
	}
	names := []string{ref.Name}
	pod, _, err := k.podOf(ctx, ref, anyIndex)
	if err == nil && pod != nil {
		names = append(names, pod.GetName())
	}
	var out []corev1.Event
	for _, name := range names {
		events, err := k.eventsOf(ctx, ref.Namespace, "involvedObject.name", name)
		if kerrors.IsForbidden(err) {
			c.notef("\nYour account may not read the events of the run, in namespace %s.\n", ref.Namespace)
			return out
		}
		for _, e := range events {
			if e.InvolvedObject.Kind == "Job" || e.InvolvedObject.Kind == "Pod" {
				out = append(out, e)
			}
		}
	}
	return out
}

// eventsOf returns the events of a namespace whose field has a value.
func (k *cluster) eventsOf(ctx context.Context, namespace, field, value string) ([]corev1.Event, error) {
	return listAs[corev1.Event](ctx, k.Resource(eventResource).Namespace(namespace),
		metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(field, value).String()}, "events in namespace "+namespace)
}

// lastSeen returns when an event happened last.
func lastSeen(e *corev1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.Time(e.Series.LastObservedTime)
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	case !e.EventTime.IsZero():
		return metav1.Time(e.EventTime)
	}
	return e.GetCreationTimestamp()
}

// age returns how long ago something happened, as kubectl shows it.
func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}
