package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A report has a table of figures and a list of limits, in the order in which
// they become known.
type report struct {
	out      io.Writer
	inMemory bool // Where the registry has its data.

	rows    [][]string
	limits  [][]string
	figures [][]string
	missed  []string
}

// Titles of the tables.
var (
	rowTitles    = []string{"", "", "seconds", "to the limit", "to before", "processor", "memory", "written to disk", "from the Hub", "to the registry"}
	limitTitles  = []string{"to reach", "measured", ""}
	figureTitles = []string{"", ""}
)

// row adds what a contender took. Ratios are to the limit and to the older worker, if
// there are such, and to the model's size.
func (r *report) row(what string, o *result, limit, before time.Duration, m model) {
	if o.failed != "" {
		reason, _, _ := strings.Cut(o.failed, "\n")
		r.rows = append(r.rows, append([]string{what, o.contender.name(), "failed: " + reason}, make([]string, len(rowTitles)-3)...))
		return
	}
	in, out := "", ""
	if o.carried != (line.Counts{}) {
		in, out = ratio(float64(o.carried.HubIn)/float64(m.Bytes)), ratio(float64(o.carried.RegistryOut)/float64(m.Bytes))
	}
	r.rows = append(r.rows, []string{
		what, o.contender.name(), fmt.Sprintf("%.2f", o.median().Seconds()), times(o.median(), limit), times(o.median(), before),
		fmt.Sprintf("%.1f s", o.usage.Processor.Seconds()), megabytes(o.usage.Memory), written(o.usage), in, out,
	})
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

// figure adds one of the few figures that the README shows.
func (r *report) figure(what, measured string, args ...any) {
	r.figures = append(r.figures, []string{what, fmt.Sprintf(measured, args...)})
}

// print prints both tables.
func (r *report) print() error {
	for _, t := range [][][]string{append([][]string{rowTitles}, r.rows...), append([][]string{limitTitles}, r.limits...)} {
		w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		for _, row := range t {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		fmt.Fprintln(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// verdict is an error that names the limits which were missed.
func (r *report) verdict() error {
	if len(r.missed) == 0 {
		fmt.Fprintln(r.out, "All limits are reached.")
		return nil
	}
	return errors.Errorf("not reached:\n  %s", strings.Join(r.missed, "\n  "))
}

// times returns how often a time has another one; empty if there is no other.
func times(took, other time.Duration) string {
	if other <= 0 {
		return ""
	}
	return ratio(took.Seconds() / other.Seconds())
}

func ratio(f float64) string { return fmt.Sprintf("%.2f", f) }

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<19)>>20) }

// written says how much was written, and lay there at most; the few bytes of a
// result are nothing.
func written(u meter.Usage) string {
	switch {
	case u.Left > 0:
		return megabytes(u.Written) + ", kept " + megabytes(u.Left)
	case u.Written < 1<<20:
		return "0"
	default:
		return megabytes(u.Written)
	}
}
