package main

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// code is the product's source code.
type code struct {
	files []*ast.File

	// paths are the files' paths below the repository's root, with slashes.
	paths map[*ast.File]string

	// consts are the string constants of each file, which other expressions of it use.
	consts map[*ast.File]map[string]string
}

// parse reads the source files, without tests, of the product below root.
func parse(root string) (*code, error) {
	c := &code{paths: map[*ast.File]string{}, consts: map[*ast.File]map[string]string{}}
	set := token.NewFileSet()
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				return errors.Wrap(err, "cannot parse a source file")
			}
			rel, err := filepath.Rel(root, path)
			c.files, c.paths[f] = append(c.files, f), filepath.ToSlash(rel)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, f := range c.files {
		c.consts[f] = map[string]string{}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i := range v.Values {
				if s, ok := c.text(f, v.Values[i]); ok && i < len(v.Names) {
					c.consts[f][v.Names[i].Name] = s
				}
			}
			return true
		})
	}
	return c, nil
}

// text returns the value of an expression of strings.
func (c *code) text(f *ast.File, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		v := constant.MakeFromLiteral(e.Value, e.Kind, 0)
		if v.Kind() != constant.String {
			return "", false
		}
		return constant.StringVal(v), true
	case *ast.BinaryExpr:
		x, ok := c.text(f, e.X)
		y, also := c.text(f, e.Y)
		return x + y, ok && also && e.Op == token.ADD
	case *ast.Ident:
		s, ok := c.consts[f][e.Name]
		return s, ok
	case *ast.SelectorExpr:
		return group(e)
	}
	return "", false
}

// group returns the API group that an expression names.
func group(e *ast.SelectorExpr) (string, bool) {
	pkg, ok := e.X.(*ast.Ident)
	if !ok || e.Sel.Name != "Group" {
		return "", false
	}
	s, ok := map[string]string{"modelv1alpha1": modelv1alpha1.Group, "v1alpha1": v1alpha1.Group}[pkg.Name]
	return s, ok
}

// A named constant, with its documentation.
type named struct {
	name, value, doc string
}

// constants returns the constants whose declaration is accepted, in the order of the
// code.
func (c *code) constants(accept func(name string, v *ast.ValueSpec) bool) []named {
	var out []named
	for _, f := range c.files {
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				return true
			}
			for i, name := range v.Names {
				if s, ok := c.text(f, v.Values[i]); ok && accept(name.Name, v) {
					out = append(out, named{name: name.Name, value: s, doc: docOf(name.Name, s, v)})
				}
			}
			return true
		})
	}
	return out
}

// docOf returns the documentation of a constant without its name in front.
func docOf(name, value string, v *ast.ValueSpec) string {
	group := v.Doc
	if group == nil {
		group = v.Comment
	}
	s := strings.Join(strings.Fields(group.Text()), " ")
	for _, prefix := range []string{name + " ", name + ": ", value + ": "} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			s = rest
			break
		}
	}
	if s != "" {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return strings.NewReplacer("modelv1alpha1.", "", "v1alpha1.", "").Replace(s)
}

// isType accepts constants of a type.
func isType(types ...string) func(string, *ast.ValueSpec) bool {
	return func(_ string, v *ast.ValueSpec) bool {
		switch t := v.Type.(type) {
		case *ast.Ident:
			return slices.Contains(types, t.Name)
		case *ast.SelectorExpr:
			pkg, ok := t.X.(*ast.Ident)
			return ok && slices.Contains(types, pkg.Name+"."+t.Sel.Name)
		}
		return false
	}
}

// reasonsPage lists the reasons of conditions.
func reasonsPage(c *code) (string, error) {
	var rows [][]string
	for _, r := range c.constants(isType("Reason")) {
		if !outcome.Reason(r.value).Known() {
			continue
		}
		retried := "no"
		if outcome.Reason(r.value).Transient() {
			retried = "yes"
		}
		condition := "Reconciling"
		if outcome.Reason(r.value).Stalls() {
			condition = "Stalled"
		}
		link := "[" + quoted(r.value) + "](../runbooks/failures.md#" + strings.ToLower(r.value) + ")"
		rows = append(rows, []string{link, r.doc, retried, condition})
	}
	if len(rows) == 0 {
		return "", errors.New("no reason was found")
	}
	return page("Reasons", "Reasons of the condition Ready of Artifacts and configs, and of `status.atProvider.failure`. "+
		"Each leads to its runbook: likely causes, diagnosis and cure. What is retried is Reconciling until its "+
		"retries are used up, and [Stalled](../guides/gitops.md) then.",
		[]string{"reason", "meaning", "retried", "condition meanwhile"}, rows), nil
}

// labelsPage lists labels and annotations.
func labelsPage(c *code) (string, error) {
	var (
		rows  [][]string
		names []string
	)
	for _, n := range c.constants(func(name string, _ *ast.ValueSpec) bool {
		return strings.HasPrefix(strings.ToLower(name), "annotation") || strings.HasPrefix(strings.ToLower(name), "label")
	}) {
		if !strings.Contains(n.value, "/") || n.doc == "" {
			continue
		}
		kind := "annotation"
		if strings.HasPrefix(strings.ToLower(n.name), "label") {
			kind = "label"
		}
		rows = append(rows, []string{quoted(n.value), kind, n.doc})
		names = append(names, n.name, quoted(n.value))
	}
	// Documentation of one may name another one.
	values := strings.NewReplacer(names...)
	for _, r := range rows {
		r[2] = values.Replace(r[2])
	}
	if len(rows) == 0 {
		return "", errors.New("no label was found")
	}
	return page("Labels and annotations", "On Artifacts, configs, and the Jobs, workspaces and Secrets of runs. "+
		"[The contract with Crossplane](crossplane.md#annotations) says which ones you may write.",
		[]string{"name", "", "meaning"}, rows), nil
}

// eventsPage lists the reasons of events.
func eventsPage(c *code) (string, error) {
	var rows [][]string
	for _, n := range c.constants(isType("event.Reason", "xpevent.Reason")) {
		if n.doc == "" {
			return "", errors.Errorf("%s has no documentation", n.name)
		}
		rows = append(rows, []string{quoted(n.value), n.doc})
	}
	if len(rows) == 0 {
		return "", errors.New("no event was found")
	}
	return page("Events", "Events of Artifacts. `kubectl describe artifact` and `kubectl events --for artifact/NAME` show them.",
		[]string{"reason", "when"}, rows), nil
}

// flagsPage lists the provider's flags.
func flagsPage(c *code) (string, error) {
	rows := c.flags("cmd/provider/")
	if len(rows) == 0 {
		return "", errors.New("no flag was found")
	}
	return page("Flags of the provider", "[Installation](../guides/install.md#flags-and-a-deploymentruntimeconfig-of-several-providers) says where to write them. "+
		"`--no-` and the name sets one that is `true` by default to `false`.",
		[]string{"flag", "environment", "default", "what it does"}, rows), nil
}

// flags returns a row for each flag that files below a path declare.
func (c *code) flags(path string) [][]string {
	var rows [][]string
	for _, f := range c.files {
		if !strings.HasPrefix(c.paths[f], path) {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			row := c.flag(f, n)
			if row != nil {
				rows = append(rows, row)
			}
			return row == nil
		})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return rows
}

// flag returns the row of an expression such as app.Flag("poll", "Help.").Default("10m").DurationVar(&f.poll),
// or nil if it is another one.
func (c *code) flag(f *ast.File, n ast.Node) []string {
	row := []string{"", "", "", ""}
	short, environment := "", true
	for call, method := methodOf(n); call != nil; call, method = methodOf(method.X) {
		switch method.Sel.Name {
		case "Default":
			row[2] = c.defaultOf(f, call.Args)
		case "BoolVar":
			row[2] = quoted("false")
		case "Envar":
			name, _ := c.text(f, call.Args[0])
			row[1] = quoted(name)
		case "NoEnvar":
			environment = false
		case "Short":
			if l, ok := call.Args[0].(*ast.BasicLit); ok {
				short = ", " + quoted("-"+strings.Trim(l.Value, "'"))
			}
		case "Hidden":
			return nil
		case "Flag":
			name, ok := c.text(f, call.Args[0])
			help, also := c.text(f, call.Args[1])
			if !ok || !also {
				return nil
			}
			row[0], row[3] = quoted("--"+name)+short, help
			if row[1] == "" && environment {
				row[1] = quoted("PROVIDER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
			}
			return row
		}
	}
	return nil
}

// methodOf returns a call of a method, and the method; nil for another node.
func methodOf(n ast.Node) (*ast.CallExpr, *ast.SelectorExpr) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil, nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil, nil
	}
	return call, method
}

// defaultOf returns the values of a flag's Default.
func (c *code) defaultOf(f *ast.File, args []ast.Expr) string {
	var out []string
	for _, a := range args {
		s, ok := c.text(f, a)
		if sel, is := a.(*ast.SelectorExpr); !ok && is {
			for _, n := range c.constants(func(name string, _ *ast.ValueSpec) bool { return name == sel.Sel.Name }) {
				s = n.value
			}
		}
		out = append(out, quoted(s))
	}
	return strings.Join(out, ", ")
}

// metricsPage lists the provider's own metrics.
func metricsPage(*code) (string, error) {
	all := artifact.AllMetrics()
	rows := make([][]string, 0, len(all))
	for _, m := range all {
		labels := make([]string, 0, len(m.Labels))
		for _, l := range m.Labels {
			labels = append(labels, quoted(l))
		}
		rows = append(rows, []string{quoted(m.Name), string(m.Type), strings.Join(labels, ", "), m.Help})
	}
	return page("Metrics", "The provider's own, beside those of [crossplane-runtime and controller-runtime](crossplane.md#metrics). "+
		"[Monitoring](../guides/monitoring.md) says how to scrape them, and has alerts and a dashboard.",
		[]string{"metric", "type", "labels", "what it is"}, rows), nil
}
