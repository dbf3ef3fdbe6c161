package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// Lines between which the tables are in the page.
const (
	markBegin = "<!-- bench-pull:begin -->\n"
	markEnd   = "<!-- bench-pull:end -->\n"
)

// A result is what a contender took for one model.
type result struct {
	contender contender
	took      []time.Duration
	usage     meter.Usage
	failed    string // Why it did not pull; empty if it did.
}

// seconds of the median.
func (r *result) seconds() float64 { return meter.Median(r.took).Seconds() }

// A report has a table of figures and a list of limits.
type report struct {
	out    io.Writer
	rows   [][]string
	limits [][]string
	missed []string
}

// Titles of the tables.
var (
	rowTitles   = []string{"", "", "seconds", "to oras", "processor", "memory"}
	limitTitles = []string{"to reach", "measured", ""}
)

// add adds rows of results; the second one is of oras.
func (r *report) add(what string, results []*result) {
	for i, o := range results {
		if o.failed != "" {
			r.rows = append(r.rows, []string{what, o.contender.name, "failed: " + o.failed, "", "", ""})
			continue
		}
		ratio := ""
		if i != 1 && len(results) > 1 {
			ratio = fmt.Sprintf("%.2f", o.seconds()/results[1].seconds())
		}
		r.rows = append(r.rows, []string{what, o.contender.name, fmt.Sprintf("%.2f", o.seconds()), ratio,
			fmt.Sprintf("%.1f s", o.usage.Processor.Seconds()), fmt.Sprintf("%d MiB", o.usage.Memory>>20)})
	}
}

// hold adds a limit, which is reached or not.
func (r *report) hold(ok bool, what, measured string, args ...any) {
	verdict := "reached"
	if !ok {
		verdict = "NOT reached"
		r.missed = append(r.missed, what)
	}
	r.limits = append(r.limits, []string{what, fmt.Sprintf(measured, args...), verdict})
}

// print prints both tables.
func (r *report) print() error {
	for _, t := range [][][]string{append([][]string{rowTitles}, r.rows...), append([][]string{limitTitles}, r.limits...)} {
		w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		for _, row := range t {
			_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		_, _ = fmt.Fprintln(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// verdict is an error that names the limits which were missed.
func (r *report) verdict() error {
	if len(r.missed) == 0 {
		_, _ = fmt.Fprintln(r.out, "All limits are reached.")
		return nil
	}
	return errors.Errorf("not reached:\n  %s", strings.Join(r.missed, "\n  "))
}

// check returns an error if a page has no place for the tables.
func (r *report) check(page string) error {
	if page == "" {
		return nil
	}
	_, _, err := around(page)
	return err
}

// around returns what is before and after the tables in a page.
func around(page string) (before, after string, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return "", "", errors.Wrap(err, "cannot read what gets the tables")
	}
	before, rest, begins := strings.Cut(string(text), markBegin)
	_, after, ends := strings.Cut(rest, markEnd)
	if !begins || !ends {
		return "", "", errors.Errorf("%s has no line %q before a line %q", page, markBegin, markEnd)
	}
	return before, after, nil
}

// write writes the tables into a page.
func (r *report) write(page, circumstances string) error {
	before, after, err := around(page)
	if err != nil {
		return err
	}
	out := &strings.Builder{}
	out.WriteString(before + markBegin + circumstances + "\n\n")
	table(out, rowTitles, r.rows)
	out.WriteString("\n")
	table(out, limitTitles, r.limits)
	out.WriteString(markEnd + after)
	return errors.Wrap(os.WriteFile(page, []byte(out.String()), 0o644), "cannot write the tables")
}

func table(out *strings.Builder, titles []string, rows [][]string) {
	_, _ = fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	for _, r := range rows {
		_, _ = fmt.Fprintf(out, "| %s |\n", strings.Join(r, " | "))
	}
}

// circumstances says when and on what this was measured.
func (b *bench) circumstances(ctx context.Context) string {
	where := "on disk"
	if b.inMemory {
		where = "in memory"
	}
	out, _ := (&meter.Meter{}).Run(ctx, meter.Command{Args: []string{b.oras, "version"}})
	version := "oras"
	if words := strings.Fields(out); len(words) > 1 {
		version = "oras " + words[1]
	}
	return fmt.Sprintf("`make bench-pull` on %s: %d cores, %s, %s. Medians of %d runs in turn over loopback, one through the line; registry and folders %s.",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), version, b.options.runs, where)
}
