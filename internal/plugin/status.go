package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// statusCommand returns kubectl kitops status.
func (c *command) statusCommand() *cobra.Command {
	var all, watch bool
	cmd := &cobra.Command{
		Use:     "status [NAME...]",
		Aliases: []string{"st"},
		Short:   "Show Artifacts, and how far their runs are",
		Long: `Show Artifacts as a table: phase and reason of each, how far its run is, and the digest
of what is in the registry.

With --watch on a terminal the table is updated in place, with bars. Runs report their
progress every 15 seconds at most; in between it is estimated by their rate, and has a ~.
Elsewhere, as in a pipe, each change is a line.`,
		Example:           c.example("$ status -A", "$ status -w -n models qwen3"),
		ValidArgsFunction: c.completeArtifacts,
		RunE: func(cmd *cobra.Command, names []string) error {
			if all && len(names) > 0 {
				return errors.New("a name is of one namespace: leave out the names, or --all-namespaces")
			}
			k, err := c.cluster()
			if err != nil {
				return err
			}
			s := &status{command: c, cluster: k, namespace: k.namespace, names: names, all: all}
			if all {
				s.namespace = ""
			}
			if watch {
				return s.watch(cmd.Context())
			}
			return s.once(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Show Artifacts of all namespaces")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "Go on showing them as they change, until the program is interrupted")
	return cmd
}

// status shows Artifacts.
type status struct {
	*command

	cluster   *cluster
	namespace string // "" for all.
	names     []string
	all       bool
}

// once shows the Artifacts as they are.
func (s *status) once(ctx context.Context) error {
	all, err := s.cluster.selectArtifacts(ctx, s.namespace, s.names)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		s.notef("%s\n", s.empty())
		return nil
	}
	screen := terminal.NewScreen(s.raw)
	rows := make([]row, 0, len(all))
	for i := range all {
		rows = append(rows, rowOf(&all[i], s.progress(&all[i], screen != nil)))
	}
	slices.SortFunc(rows, byName)
	s.print(newLayout(rows, s.all, 0), append([]row{header}, rows...)...)
	return nil
}

// empty says that there is nothing to show.
func (s *status) empty() string {
	if s.all {
		return "No Artifacts found in any namespace."
	}
	return fmt.Sprintf("No Artifacts found in namespace %s.", s.namespace)
}

// progress returns how far an Artifact's run is by its last report; as a bar on a terminal.
func (s *status) progress(a *modelv1alpha1.Artifact, bar bool) string {
	p := a.Status.AtProvider.Progress
	if p == nil || !bar {
		return progressText(a, p)
	}
	return progressBar(p, float64(p.Percent)/100, "")
}

// print prints rows as lines.
func (s *status) print(l layout, rows ...row) {
	for _, r := range rows {
		s.printf("%s\n", strings.TrimRight(l.line(r), " "))
	}
}

// byName orders rows by namespace and name.
func byName(a, b row) int {
	return cmp.Or(cmp.Compare(a[columnNamespace], b[columnNamespace]), cmp.Compare(a[columnName], b[columnName]))
}

// watch shows the Artifacts as they change, until the context ends.
func (s *status) watch(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changes := make(chan change)
	done := make(chan error, 1)
	go func() { done <- s.cluster.follow(ctx, s.namespace, s.names, changes) }()

	var err error
	if screen := terminal.NewScreen(s.raw); screen != nil {
		err = s.live(ctx, screen, changes, done)
	} else {
		err = s.lines(ctx, changes, done)
	}
	if ctx.Err() != nil {
		return nil // The user ended it.
	}
	return err
}

// lines shows each change as a line.
func (s *status) lines(ctx context.Context, changes <-chan change, done <-chan error) error {
	var l layout
	shown := map[string]row{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-done:
			return err
		case c := <-changes:
			rows := c.rows(shown)
			if l.shown == nil {
				l = newLayout(rows, s.all, 0)
				s.print(l, header)
			}
			s.print(l, rows...)
		}
	}
}

// rows returns the rows of a change that differ from those that are shown, and records
// them.
func (c change) rows(shown map[string]row) []row {
	var out []row
	add := func(key string, r row) {
		if shown[key] != r {
			shown[key] = r
			out = append(out, r)
		}
	}
	for _, a := range c.artifacts {
		add(keyOf(a), rowOf(a, progressText(a, a.Status.AtProvider.Progress)))
	}
	for _, key := range gone(c, shown) {
		r := shown[key]
		r[columnPhase], r[columnReason], r[columnProgress] = "Deleted", none, none
		delete(shown, key)
		out = append(out, r)
	}
	slices.SortFunc(out, byName)
	return out
}

// refresh is how often a table on a terminal is drawn while something runs.
const refresh = 250 * time.Millisecond

// live shows a table that is updated in place.
func (s *status) live(ctx context.Context, screen *terminal.Screen, changes <-chan change, done <-chan error) error {
	defer func() { _ = screen.Close() }()
	v := &view{status: s, artifacts: map[string]*seen{}}
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-done:
			return err
		case c := <-changes:
			v.apply(c, time.Now())
		case <-tick.C:
			if !v.synced {
				continue
			}
		}
		if err := screen.Draw(v.lines(time.Now(), screen.Size)); err != nil {
			return errors.Wrap(err, "cannot write to the terminal")
		}
	}
}
