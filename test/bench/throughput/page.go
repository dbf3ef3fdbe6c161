package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A section is a part of a Markdown file that the benchmark writes, between two lines that
// are comments.
type section string

const (
	// tables is the section of the page with all figures.
	tables section = "bench"

	// inShort is the section with the few figures that both README and page show.
	inShort section = "bench:figures"
)

func (s section) begin() string { return "<!-- " + string(s) + ":begin -->\n" }

func (s section) end() string { return "<!-- " + string(s) + ":end -->\n" }

// around returns what is before, in and after the section of a text, and whether the text has it.
func (s section) around(text string) (before, in, after string, found bool) {
	before, rest, begins := strings.Cut(text, s.begin())
	in, after, ends := strings.Cut(rest, s.end())
	return before, in, after, begins && ends
}

// An output is a section of a file.
type output struct {
	file    string
	section section
}

// outputs returns the sections that get the figures; none where no page is written.
func (o options) outputs() []output {
	if o.page == "" {
		return nil
	}
	return []output{{o.page, tables}, {o.page, inShort}, {o.readme, inShort}}
}

// checkOutputs returns an error if a section is missing, before anything is measured.
func checkOutputs(all []output) error {
	for _, t := range all {
		text, err := os.ReadFile(t.file)
		if err != nil {
			return errors.Wrap(err, "cannot read what gets the tables")
		}
		if _, _, _, found := t.section.around(string(text)); !found {
			return errors.Errorf("%s has no line %q before a line %q", t.file, t.section.begin(), t.section.end())
		}
	}
	return nil
}

// writePage writes the tables into the page, and a few figures into it and the README.
func (b *bench) writePage(ctx context.Context) error {
	for _, t := range b.options.outputs() {
		text, err := os.ReadFile(t.file)
		if err != nil {
			return errors.Wrap(err, "cannot read what gets the tables")
		}
		before, _, after, _ := t.section.around(string(text))
		content := b.inShort()
		if t.section == tables {
			content = b.markdown(ctx)
		}
		if err := os.WriteFile(t.file, []byte(before+t.section.begin()+content+t.section.end()+after), 0o644); err != nil {
			return errors.Wrap(err, "cannot write the tables")
		}
	}
	return nil
}

// inShort returns the few figures.
func (b *bench) inShort() string {
	out := &strings.Builder{}
	table(out, figureTitles, b.report.figures)
	return out.String()
}

// markdown returns both tables, and what they were measured with.
func (b *bench) markdown(ctx context.Context) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "%s\n\n", b.circumstances(ctx))
	table(out, rowTitles, b.report.rows)
	fmt.Fprintln(out)
	table(out, limitTitles, b.report.limits)
	return out.String()
}

func table(out *strings.Builder, titles []string, rows [][]string) {
	fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	for _, r := range rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(r, " | "))
	}
}

// circumstances says when and on what this was measured.
func (b *bench) circumstances(ctx context.Context) string {
	where := "on disk"
	if b.report.inMemory {
		where = "in memory"
	}
	with := "without kit (`KIT=path` adds it)"
	if b.options.kit != "" {
		version, _ := kit{program: b.options.kit}.version(ctx)
		with = "kit " + version
	}
	before := "the worker of " + b.before.version
	if !b.hasBefore() {
		before = "nothing: " + b.before.missing
	}
	return fmt.Sprintf("`make bench` on %s: %d cores (%s), %s, %s, %s. Medians of %d runs in turn (line: %d); registry %s. Before is %s.",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), processor(), runtime.Version(), curlVersion(ctx), with,
		b.options.runs, b.options.lineRuns, where, before)
}

// processor returns the name of the machine's.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(l, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// curlVersion returns curl and its version.
func curlVersion(ctx context.Context) string {
	out, _ := (&meter.Meter{}).Run(ctx, meter.Command{Args: []string{"curl", "--version"}})
	words := strings.Fields(out)
	return strings.Join(words[:min(2, len(words))], " ")
}
