// Command reference writes the pages of docs/reference that follow from the code: the
// fields of the API, the reasons, metrics, flags, labels, annotations and events. It
// runs in the folder apis, by `make generate`.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// generated is the second line of each page.
const generated = "<!-- Generated from the code by make generate. Do not edit. -->\n\n"

func main() {
	if err := run(".."); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// run writes all pages of the repository at root.
func run(root string) error {
	c, err := parse(root)
	if err != nil {
		return err
	}
	out, err := fieldPages(filepath.Join(root, "package", "crds"))
	if err != nil {
		return err
	}
	for name, page := range map[string]func(*code) (string, error){
		"reasons.md": reasonsPage,
		"metrics.md": metricsPage,
		"flags.md":   flagsPage,
		"labels.md":  labelsPage,
		"events.md":  eventsPage,
	} {
		text, err := page(c)
		if err != nil {
			return errors.Wrapf(err, "cannot write %s", name)
		}
		out[name] = text
	}
	for name, text := range out {
		path := filepath.Join(root, "docs", "reference", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return errors.Wrap(err, "cannot make the folder of a page")
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return errors.Wrap(err, "cannot write a page")
		}
	}
	return nil
}

// page returns a page with a title, an introduction and a table.
func page(title, intro string, header []string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s%s\n\n", title, generated, intro)
	table(&b, header, rows)
	return b.String()
}

// table writes a Markdown table.
func table(b *strings.Builder, header []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, r := range rows {
		for i := range r {
			r[i] = cell(r[i])
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

// cell returns a text as one cell of a table: one line, without what ends a cell or
// begins an HTML element.
func cell(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s)
}

// quoted returns a text as code, or nothing for nothing.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
