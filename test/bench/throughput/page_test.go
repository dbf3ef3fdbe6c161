package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckOutputs(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		fails  bool
	}{
		"BothMarkers": {
			reason: "A file with a place for the tables should be accepted.",
			text:   "a\n" + tables.begin() + "old\n" + tables.end() + "b\n",
		},
		"NoMarkers": {
			reason: "A file without a place for the tables should be refused before anything is measured.",
			text:   "a\n", fails: true,
		},
		"WrongOrder": {
			reason: "An end before the beginning should be refused.",
			text:   tables.end() + tables.begin(), fails: true,
		},
		"OtherSection": {
			reason: "The place of another section should not be taken for it.",
			text:   inShort.begin() + inShort.end(), fails: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := checkOutputs([]output{{file, tables}}); (err != nil) != tc.fails {
				t.Errorf("\n%s\ncheckOutputs(...): %v", tc.reason, err)
			}
		})
	}
}

func TestWritePage(t *testing.T) {
	dir := t.TempDir()
	page, readme := filepath.Join(dir, "page.md"), filepath.Join(dir, "README.md")
	for file, text := range map[string]string{
		page:   "a\n" + inShort.begin() + "old\n" + inShort.end() + "b\n" + tables.begin() + "old\n" + tables.end() + "c\n",
		readme: inShort.begin() + inShort.end(),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{options: options{page: page, readme: readme}, report: &report{}}
	b.report.figure("a model", "%d times", 2)
	if err := b.writePage(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := inShort.begin() + "|  |  |\n|---|---|\n| a model | 2 times |\n" + inShort.end()
	got, err := os.ReadFile(readme)
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Errorf("The README should get the figures: %v: -want, +got:\n%s", err, diff)
	}
	got, err = os.ReadFile(page)
	before, in, after, _ := tables.around(string(got))
	if diff := cmp.Diff([]string{"a\n" + want + "b\n", "c\n"}, []string{before, after}); diff != "" || err != nil {
		t.Errorf("The page should get the figures and keep what is around them: %v: -want, +got:\n%s", err, diff)
	}
	if in == "old\n" {
		t.Error("The page should get the tables.")
	}
}

// TestFiguresAgree holds the README's figures against those of the page.
func TestFiguresAgree(t *testing.T) {
	const root = "../../.."
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		_, in, _, found := inShort.around(string(text))
		if !found {
			t.Fatalf("%s has no figures of the benchmark", file)
		}
		return in
	}
	if diff := cmp.Diff(read("docs/benchmark.md"), read("README.md")); diff != "" {
		t.Errorf("The README should have the figures that the page has: make bench writes both. -page, +README:\n%s", diff)
	}
}
