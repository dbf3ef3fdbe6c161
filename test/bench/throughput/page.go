package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Markers between which the table is.
const (
	markBegin = "<!-- bench:begin -->"
	markEnd   = "<!-- bench:end -->"
)

// writePage writes the tables into the page that shows them, if there is one.
func (b *bench) writePage(ctx context.Context) error {
	if b.options.page == "" {
		return nil
	}
	before, after, err := around(b.options.page)
	if err != nil {
		return err
	}
	text := before + markBegin + "\n" + b.markdown(ctx) + markEnd + "\n" + after
	return errors.Wrap(os.WriteFile(b.options.page, []byte(text), 0o644), "cannot write the table")
}

// around returns what is before and after the tables in a file, if there is one.
func around(file string) (string, string, error) {
	if file == "" {
		return "", "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", errors.Wrap(err, "cannot read what gets the table")
	}
	before, rest, begins := strings.Cut(string(text), markBegin+"\n")
	_, after, ends := strings.Cut(rest, markEnd+"\n")
	if !begins || !ends {
		return "", "", errors.Errorf("%s has no line %s before a line %s", file, markBegin, markEnd)
	}
	return before, after, nil
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
	return fmt.Sprintf("`make bench` on %s: %d cores (%s), %s, %s, %s. Medians of %d runs in turn (line: %d); registry %s.",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), processor(), runtime.Version(), curlVersion(ctx), with,
		b.options.runs, b.options.lineRuns, where)
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
	out, _ := (&meter{}).run(ctx, command{args: []string{"curl", "--version"}})
	words := strings.Fields(out)
	return strings.Join(words[:min(2, len(words))], " ")
}
