package plugin

import (
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// gap is how many spaces are between two columns, as kubectl has it.
const gap = 3

// A layout is the columns of a table that are shown, and how wide they are.
type layout struct {
	shown  []int
	widths [columns]int
}

// newLayout returns a layout for rows. The column of namespaces is shown if it is asked
// for. Where the table is to have at most so many columns of a terminal, digests and then
// models are left out of one that does not fit; 0 for any number.
func newLayout(rows []row, namespaces bool, most int) layout {
	var l layout
	for column := range columns {
		if column != columnNamespace || namespaces {
			l.shown = append(l.shown, column)
		}
		l.widths[column] = terminal.Columns(header[column])
		for _, r := range rows {
			l.widths[column] = max(l.widths[column], terminal.Columns(terminal.Line(r[column])))
		}
	}
	for _, column := range []int{columnDigest, columnModel} {
		if most > 0 && l.total() > most {
			l.shown = without(l.shown, column)
		}
	}
	return l
}

// without returns columns without one of them.
func without(all []int, column int) []int {
	var out []int
	for _, c := range all {
		if c != column {
			out = append(out, c)
		}
	}
	return out
}

// total returns how wide the table is.
func (l layout) total() int {
	n := -gap
	for _, column := range l.shown {
		n += l.widths[column] + gap
	}
	return n
}

// line returns a row as a line.
func (l layout) line(r row) string {
	var b strings.Builder
	for i, column := range l.shown {
		cell := terminal.Line(r[column])
		b.WriteString(cell)
		if i < len(l.shown)-1 {
			b.WriteString(strings.Repeat(" ", max(0, l.widths[column]-terminal.Columns(cell))+gap))
		}
	}
	return b.String()
}
