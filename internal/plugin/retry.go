package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// Annotations of Crossplane, as crossplane-runtime's pkg/meta has them.
const (
	annotationRequestedAt = "crossplane.io/reconcile-requested-at"
	annotationPaused      = "crossplane.io/paused"
)

// retryCommand returns kubectl kitops retry.
func (c *command) retryCommand() *cobra.Command {
	var failed, all bool
	cmd := &cobra.Command{
		Use:   "retry NAME... | --failed",
		Short: "Request another run after a failed one",
		Long: `Request another run of Artifacts whose last one has failed, at once and whatever their
spec.forProvider.retry says, by the annotation ` + annotationRequestedAt + `.

Of an Artifact whose run has not failed, the provider checks at once what the registry has:
what is missing there is pushed again.`,
		Example:           c.example("$ retry qwen3", "$ retry --failed -A"),
		ValidArgsFunction: c.completeArtifacts,
		RunE: func(cmd *cobra.Command, names []string) error {
			if failed == (len(names) > 0) || all && !failed {
				return errors.New("write the names of Artifacts in one namespace, or --failed for all that have failed, there or with --all-namespaces")
			}
			k, err := c.cluster()
			if err != nil {
				return err
			}
			return c.retry(cmd.Context(), k, k.scope(all), names, time.Now())
		},
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "Retry all Artifacts whose last run has failed")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "With --failed, those of all namespaces")
	return cmd
}

// retry requests runs of the Artifacts with these names, or without names of all in a
// namespace that have failed.
func (c *command) retry(ctx context.Context, k *cluster, namespace string, names []string, now time.Time) error {
	artifacts, err := k.selectArtifacts(ctx, namespace, names)
	if err != nil {
		return err
	}
	var failures []error
	requested := 0
	for i := range artifacts {
		a := &artifacts[i]
		if len(names) == 0 && a.Status.AtProvider.Phase != modelv1alpha1.PhaseFailed {
			continue
		}
		if err := k.request(ctx, a, now); err != nil {
			failures = append(failures, err)
			continue
		}
		requested++
		c.printf("%s: %s\n", keyOf(a), requestedOf(a))
	}
	if requested == 0 && len(failures) == 0 {
		c.notef("No Artifact has failed.\n")
	}
	return c.failed(failures)
}

// request has an Artifact reconciled, with a new run if its last one has failed.
func (k *cluster) request(ctx context.Context, a *modelv1alpha1.Artifact, now time.Time) error {
	if a.GetAnnotations()[annotationPaused] == "true" {
		return errors.Errorf("%s is paused: remove its annotation %s first", keyOf(a), annotationPaused)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{annotationRequestedAt: now.UTC().Format(time.RFC3339Nano)},
	}})
	if err != nil {
		return errors.Wrap(err, "cannot encode the annotation")
	}
	_, err = k.artifacts(a.GetNamespace()).Patch(ctx, a.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return describe(err, "cannot annotate Artifact %s", keyOf(a))
}

// fieldManager is who the API server records as the author of changes.
const fieldManager = "kubectl-kitops"

// requestedOf says what a request leads to.
func requestedOf(a *modelv1alpha1.Artifact) string {
	s := a.Status.AtProvider
	switch {
	case s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil:
		return fmt.Sprintf("another run is requested; run %d has failed: %s", s.Run, terminal.Line(s.Failure.Reason))
	case s.Phase == modelv1alpha1.PhaseFailed:
		return fmt.Sprintf("another run is requested; run %d has failed", s.Run)
	case s.Phase == modelv1alpha1.PhaseRunning, s.Phase == modelv1alpha1.PhasePending:
		return fmt.Sprintf("run %d is %s, and goes on; a check of the Artifact is requested", s.Run, strings.ToLower(string(s.Phase)))
	case a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue:
		return "it is Ready; a check of what the registry has is requested"
	}
	return "a check of the Artifact is requested"
}
