// Package plugin is kubectl kitops, a plugin of kubectl that shows Artifacts to people, and
// does for them what they would do by annotations and patches. It asks the API server with
// the account of its user alone, and needs nothing of the provider's.
//
// What it prints passes terminal.Safe: names, messages and logs cannot control the terminal.
package plugin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// completer is the name by which kubectl calls a plugin's completion
// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/).
const completer = "kubectl_complete-kitops"

// Streams of the program.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// A command is what all commands share.
type command struct {
	in       io.Reader
	out, err *terminal.Safe
	raw      io.Writer // What out writes to, for a terminal.Screen.

	name      string // Of the program, for its user.
	loading   *clientcmd.ClientConfigLoadingRules
	overrides *clientcmd.ConfigOverrides
}

// Run runs the program with its arguments, of which the first is the name that it was
// called by, and returns its exit code.
func Run(ctx context.Context, args []string, s Streams) int {
	c := &command{
		in: s.In, out: terminal.NewSafe(s.Out), err: terminal.NewSafe(s.Err), raw: s.Out,
		name:      nameOf(args[0]),
		loading:   clientcmd.NewDefaultClientConfigLoadingRules(),
		overrides: &clientcmd.ConfigOverrides{},
	}
	defer func() { _, _ = c.out.Flush(), c.err.Flush() }()
	// client-go logs what servers answer.
	klog.LogToStderr(false)
	klog.SetOutput(c.err)

	root := c.root()
	root.SetArgs(args[1:])
	if base(args[0]) == completer {
		root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args[1:]...))
	}
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(c.err, "error: %s\n", err)
		return 1
	}
	return 0
}

// base returns the name of a program without its folder, and without Windows' .exe.
func base(path string) string { return strings.TrimSuffix(filepath.Base(path), ".exe") }

// nameOf returns what a user writes to call the program.
func nameOf(path string) string {
	if plugin, ok := strings.CutPrefix(base(path), "kubectl-"); ok {
		return "kubectl " + plugin
	}
	return base(path)
}

// root returns the command that has all others.
func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "kitops",
		Short:         "Look after machine learning models in registries, as Artifacts of provider-kitops",
		Version:       version.Version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: c.name},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	// Else what follows --version is taken for its value.
	root.InitDefaultVersionFlag()

	flags := root.PersistentFlags()
	flags.StringVar(&c.loading.ExplicitPath, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	clientcmd.BindOverrideFlags(c.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	_ = root.RegisterFlagCompletionFunc(clientcmd.FlagNamespace, c.completeNamespaces)
	_ = root.RegisterFlagCompletionFunc(clientcmd.FlagContext, c.completeContexts)

	root.AddCommand(c.statusCommand(), c.whyCommand(), c.logsCommand(), c.retryCommand(), c.keepCommand(), c.importCommand())
	return root
}

// example returns the examples of a command, with the program's name.
func (c *command) example(lines ...string) string {
	return "  " + strings.ReplaceAll(strings.Join(lines, "\n  "), "$", c.name)
}

// printf prints to the standard output. An error of it cannot be reported.
func (c *command) printf(format string, a ...any) { _, _ = fmt.Fprintf(c.out, format, a...) }

// notef prints to the standard error, which is for what is not the command's result.
func (c *command) notef(format string, a ...any) { _, _ = fmt.Fprintf(c.err, format, a...) }

// failed returns the last of several errors, after it has printed the others.
func (c *command) failed(all []error) error {
	if len(all) == 0 {
		return nil
	}
	last := len(all) - 1
	for _, err := range all[:last] {
		c.notef("error: %s\n", err)
	}
	return all[last]
}
