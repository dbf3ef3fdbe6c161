package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A report prints figures as they become known and remembers which missed their
// limit.
type report struct {
	out    io.Writer
	missed []string
}

// phase starts a new part of the report.
func (r *report) phase(format string, args ...any) {
	fmt.Fprintf(r.out, "\n%s\n", fmt.Sprintf(format, args...))
}

// say prints a figure that has no limit.
func (r *report) say(name, format string, args ...any) {
	fmt.Fprintf(r.out, "  %-44s %s\n", name, fmt.Sprintf(format, args...))
}

// hold prints a figure beside its limit, which it meets or not.
func (r *report) hold(ok bool, name, value, limit string) {
	verdict := "ok"
	if !ok {
		verdict = "MISSED"
		r.missed = append(r.missed, name+": "+value+" (limit: "+limit+")")
	}
	fmt.Fprintf(r.out, "  %-44s %-14s limit: %-22s %s\n", name, value, limit, verdict)
}

// requests prints requests by kind and verb, and their sum also for one of n Artifacts.
func (r *report) requests(name string, requests requests, n int) {
	if requests.total() == 0 {
		r.say(name, "none")
		return
	}
	r.say(name, "%d (%.1f an Artifact)", requests.total(), float64(requests.total())/float64(n))
	keys := slices.SortedFunc(maps.Keys(requests), func(a, b request) int { return cmp.Compare(requests[b], requests[a]) })
	for _, k := range keys {
		fmt.Fprintf(r.out, "    %-42s %d\n", k, requests[k])
	}
}

// verdict is an error that names the figures which missed their limits.
func (r *report) verdict() error {
	if len(r.missed) == 0 {
		fmt.Fprintln(r.out, "\nAll figures are within their limits.")
		return nil
	}
	return errors.Errorf("missed:\n  %s", strings.Join(r.missed, "\n  "))
}

// percentile returns the value that p percent of all values do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*p+99)/100-1]
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
