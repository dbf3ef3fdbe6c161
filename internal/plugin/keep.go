package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// Values of kubectl's flag --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// dryRunFlag adds kubectl's flag --dry-run to a command.
func dryRunFlag(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVar(value, "dry-run", dryRunNone, `Must be "none", "server", which asks the API server without a change, or "client", which only shows what would be done`)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]cobra.Completion{dryRunNone, dryRunServer, dryRunClient}, cobra.ShellCompDirectiveNoFileComp))
}

// checkDryRun returns an error unless the flag has one of its values.
func checkDryRun(value string) error {
	if slices.Contains([]string{dryRunNone, dryRunClient, dryRunServer}, value) {
		return nil
	}
	return errors.Errorf("--dry-run=%s is not known: write none, server or client", value)
}

// keepCommand returns kubectl kitops keep.
func (c *command) keepCommand() *cobra.Command {
	var every, all, yes bool
	var dryRun string
	cmd := &cobra.Command{
		Use:   "keep NAME... | --all",
		Short: "Leave artifacts in their registries when their Artifacts are deleted",
		Long: `Leave what Artifacts have pushed in their registries when they are deleted, with its tags:
Delete is taken from spec.managementPolicies. Nothing is deleted, and runs go on as before.

Of Artifacts in a Composition change the Composition, and of those in Git the manifests:
otherwise the policies are set back.`,
		Example:           c.example("$ keep qwen3", "$ keep --all -A --dry-run=server"),
		ValidArgsFunction: c.completeArtifacts,
		RunE: func(cmd *cobra.Command, names []string) error {
			if every == (len(names) > 0) || all && !every {
				return errors.New("write the names of Artifacts in one namespace, or --all for all there or with --all-namespaces")
			}
			if err := checkDryRun(dryRun); err != nil {
				return err
			}
			k, err := c.cluster()
			if err != nil {
				return err
			}
			artifacts, err := k.selectArtifacts(cmd.Context(), k.scope(all), names)
			if err != nil {
				return err
			}
			return c.keep(cmd.Context(), k, artifacts, dryRun, yes)
		},
	}
	cmd.Flags().BoolVar(&every, "all", false, "Keep what all Artifacts have pushed")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "With --all, those of all namespaces")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask for a confirmation")
	dryRunFlag(cmd, &dryRun)
	return cmd
}

// keep takes Delete from the management policies of Artifacts, after a confirmation.
func (c *command) keep(ctx context.Context, k *cluster, artifacts []modelv1alpha1.Artifact, dryRun string, yes bool) error {
	var change []*modelv1alpha1.Artifact
	for i := range artifacts {
		a := &artifacts[i]
		if deletes(a) {
			change = append(change, a)
			continue
		}
		c.printf("%s: stays already\n", keyOf(a))
	}
	if len(change) == 0 {
		return nil
	}
	c.notef("When these Artifacts are deleted, what they have pushed stays in the registry:\n\n")
	for _, a := range change {
		c.notef("  %s   %s\n", keyOf(a), terminal.Line(pushedOf(a)))
		if owner := metav1.GetControllerOf(a); owner != nil {
			c.notef("  - it is part of %s %s, which sets the policies back: change its Composition, too\n", owner.Kind, owner.Name)
		}
	}
	c.notef("\nIts tags stay, too. After that nobody deletes it but you, at the registry.\n")
	if dryRun == dryRunNone && !yes && !c.confirmed(ctx) {
		return errors.New("nothing was changed: write yes, or use --yes")
	}
	var failures []error
	for _, a := range change {
		if err := k.orphan(ctx, a, dryRun); err != nil {
			failures = append(failures, err)
			continue
		}
		c.printf("%s: stays in the registry%s\n", keyOf(a), dryRunSuffix(dryRun))
	}
	return c.failed(failures)
}

// dryRunSuffix says that nothing was changed, as kubectl does.
func dryRunSuffix(dryRun string) string {
	if dryRun == dryRunNone {
		return ""
	}
	return fmt.Sprintf(" (%s dry run)", dryRun)
}

// confirmed asks the user, and reports whether the answer is yes. An interrupt is none.
func (c *command) confirmed(ctx context.Context) bool {
	c.notef("Write yes to go on: ")
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(c.in).ReadString('\n')
		answers <- strings.TrimSpace(answer)
	}()
	select {
	case <-ctx.Done():
		c.notef("\n")
		return false
	case answer := <-answers:
		return answer == "yes"
	}
}

// pushedOf returns what an Artifact has pushed, for people.
func pushedOf(a *modelv1alpha1.Artifact) string {
	s := a.Status.AtProvider
	switch {
	case s.Digest == "":
		return "nothing yet"
	case s.Size > 0:
		return fmt.Sprintf("%s, %s", s.Reference, outcome.FormatBytes(s.Size))
	}
	return s.Reference
}

// deletes reports whether the management policies of an Artifact have Delete. Without any
// they are [*] (xpv2.ManagedResourceSpec).
func deletes(a *modelv1alpha1.Artifact) bool {
	p := a.GetManagementPolicies()
	return len(p) == 0 || slices.Contains(p, xpv2.ManagementActionAll) || slices.Contains(p, xpv2.ManagementActionDelete)
}

// withoutDelete returns management policies without Delete.
func withoutDelete(p xpv2.ManagementPolicies) xpv2.ManagementPolicies {
	if len(p) == 0 || slices.Contains(p, xpv2.ManagementActionAll) {
		return xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate, xpv2.ManagementActionLateInitialize}
	}
	return slices.DeleteFunc(slices.Clone(p), func(a xpv2.ManagementAction) bool { return a == xpv2.ManagementActionDelete })
}

// orphan takes Delete from an Artifact's management policies, unless it has changed since
// it was read.
func (k *cluster) orphan(ctx context.Context, a *modelv1alpha1.Artifact, dryRun string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": a.GetResourceVersion()},
		"spec":     map[string]any{"managementPolicies": withoutDelete(a.GetManagementPolicies())},
	})
	if err != nil {
		return errors.Wrap(err, "cannot encode the management policies")
	}
	o := metav1.PatchOptions{FieldManager: fieldManager}
	switch dryRun {
	case dryRunClient:
		return nil
	case dryRunServer:
		o.DryRun = []string{metav1.DryRunAll}
	}
	_, err = k.artifacts(a.GetNamespace()).Patch(ctx, a.GetName(), types.MergePatchType, patch, o)
	return describe(err, "cannot change the management policies of Artifact %s", keyOf(a))
}
