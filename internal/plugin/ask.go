package plugin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// hubPatience bounds how long the Hub is asked.
const hubPatience = time.Minute

// An answer is what the Hub tells of a model.
type answer struct {
	model    model
	revision hub.Revision
	files    []file.File // Those that are packaged.
	size     int64
	scan     *policy.Scan // Nil unless a policy asks for it.

	// hidden is why the files are not known, of a gated model.
	hidden error
}

// ask asks the Hub about a model.
func ask(ctx context.Context, o hub.Options, m model, filter file.Filter, policies policy.Set) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, hubPatience)
	defer cancel()
	if err := filter.Validate(); err != nil {
		return nil, err
	}
	o.UserAgent = "kubectl-kitops/" + version.Version
	client, err := hub.New(o)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	client = client.Of(m.kind)
	a := &answer{model: m}
	if a.revision, err = client.Resolve(ctx, m.name, m.revision); err != nil {
		return nil, err
	}
	all, err := client.List(ctx, m.name, a.revision.Commit)
	if outcome.ReasonOf(err) == outcome.Gated {
		a.hidden = err
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	a.files = filter.Apply(hub.WithoutGit(all))
	for _, f := range a.files {
		a.size += f.Size
	}
	if len(a.files) == 0 {
		return nil, errors.Errorf("none of the %d files of %s is packaged: change --include and --exclude", len(all), m)
	}
	if policies.AsksForScan() {
		a.scan, err = scanOf(ctx, client, m, a.revision.Commit)
	}
	return a, err
}

// scanOf returns the Hub's security scan.
func scanOf(ctx context.Context, client *hub.Client, m model, commit string) (*policy.Scan, error) {
	scan, err := client.Scan(ctx, m.name, commit)
	if err != nil {
		return nil, err
	}
	out := &policy.Scan{Known: scan.Known, Done: scan.Done}
	for _, i := range scan.Issues {
		out.Issues = append(out.Issues, policy.Issue{Path: i.Path, Level: i.Level})
	}
	return out, nil
}

// listed returns the files as policies know them.
func (a *answer) listed() []policy.File {
	out := make([]policy.File, 0, len(a.files))
	for _, f := range a.files {
		out = append(out, policy.File{Path: f.Path, Size: f.Size})
	}
	return out
}

// names returns what policies know the model by: of one that was renamed both names.
func (a *answer) names() []string {
	names := []string{a.model.String()}
	if now := (model{kind: a.model.kind, name: a.revision.Name}); now.name != "" && now.name != a.model.name {
		names = append(names, now.String())
	}
	return names
}

// violations returns what policies refuse of a model, as a run would. The first bytes of
// its files, which may tell another format than their names, are checked by the run alone.
func (a *answer) violations(policies policy.Set) []string {
	var checks []error
	for _, name := range a.names() {
		checks = append(checks, policies.CheckModel(name))
	}
	checks = append(checks, policies.CheckAttested(false), policies.CheckLicense(a.revision.License, false))
	if a.hidden == nil {
		checks = append(checks, policies.CheckNames(a.listed()), policies.CheckSize(a.size))
	}
	if a.scan != nil {
		checks = append(checks, policies.CheckScan(*a.scan, a.listed()))
	}
	var out []string
	for _, err := range checks {
		if err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

// largest is how many files a report names.
const largest = 3

// report shows what the Hub tells of a model.
func (c *command) report(a *answer) {
	commit := a.revision.Commit
	if d := a.revision.LastModified; !d.IsZero() {
		commit += " of " + d.Format(time.DateOnly)
	}
	c.fact("Model", a.model.String())
	c.fact("Revision", fmt.Sprintf("%s is %s", a.model.revision, commit))
	c.fact("Licence", cmp.Or(a.revision.License, "the Hub names none"))
	if a.hidden != nil {
		c.fact("Files", fmt.Sprintf("not shown to this account: %s", a.hidden))
		return
	}
	c.fact("Files", fmt.Sprintf("%d, %s: %s", len(a.files), outcome.FormatBytes(a.size), formatsOf(a.files)))
	files := slices.Clone(a.files)
	slices.SortStableFunc(files, func(x, y file.File) int { return cmp.Compare(y.Size, x.Size) })
	for _, f := range files[:min(largest, len(files))] {
		c.fact("", fmt.Sprintf("%s, %s", f.Path, outcome.FormatBytes(f.Size)))
	}
	if n := len(files) - largest; n > 0 {
		c.fact("", fmt.Sprintf("and %d more", n))
	}
}

// fact shows one fact on the standard error.
func (c *command) fact(name, value string) { c.notef("%-9s %s\n", name, terminal.Line(value)) }

// formatsOf returns how many files there are of each format, by their names.
func formatsOf(files []file.File) string {
	count := map[string]int{}
	for _, f := range files {
		format, _ := policy.FormatByName(f.Path)
		count[format]++
	}
	formats := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, len(formats))
	for _, f := range formats {
		parts = append(parts, fmt.Sprintf("%d %s", count[f], f))
	}
	return strings.Join(parts, ", ")
}
