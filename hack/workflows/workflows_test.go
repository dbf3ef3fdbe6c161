// Package workflows checks the project's workflows of GitHub for what actionlint does not.
package workflows

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const root = "../.."

var (
	// pinned is an action by its commit, with the version as a comment.
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$`)

	// expression is one of GitHub's that is replaced before a shell sees it.
	expression = regexp.MustCompile(`\$\{\{[^}]*\}\}`)

	// target is a target of make in a command.
	target = regexp.MustCompile(`\bmake (?:--silent )?([a-z][a-z.-]*)`)

	// rule is the beginning of a target in the Makefile.
	rule = regexp.MustCompile(`^([a-z][a-z.-]*):`)
)

// A workflow is what is checked of one.
type workflow struct {
	Permissions map[string]string `json:"permissions"`
	Jobs        map[string]struct {
		Permissions map[string]string `json:"permissions"`
		Timeout     int               `json:"timeout-minutes"`
		Steps       []struct {
			Uses string            `json:"uses"`
			Run  string            `json:"run"`
			With map[string]string `json:"with"`
		} `json:"steps"`
	} `json:"jobs"`
}

func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("There are no workflows: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text := read(t, f)
			w := workflow{}
			if err := yaml.Unmarshal([]byte(text), &w); err != nil {
				t.Fatal(err)
			}
			checkPins(t, text)
			if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
				t.Errorf("A workflow should begin with contents: read alone, and jobs ask for more; got %v", w.Permissions)
			}
			checkJobs(t, w)
		})
	}
}

// checkPins checks that each action is pinned.
func checkPins(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, uses, ok := strings.Cut(line, "uses: ")
		if ok && !pinned.MatchString(strings.TrimSpace(uses)) {
			t.Errorf("An action should be pinned by its commit, with its version as a comment; got %q", strings.TrimSpace(uses))
		}
	}
}

// checkJobs checks the jobs and their steps.
func checkJobs(t *testing.T, w workflow) {
	t.Helper()
	targets := makeTargets(t)
	for name, job := range w.Jobs {
		if job.Timeout == 0 {
			t.Errorf("Job %s should have a limit of time", name)
		}
		for _, s := range job.Steps {
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" {
				t.Errorf("Job %s should not keep the token in the checkout", name)
			}
			if e := expression.FindString(s.Run); e != "" {
				t.Errorf("Job %s should give %s to its command in a variable: it may contain commands", name, e)
			}
			for _, m := range target.FindAllStringSubmatch(s.Run, -1) {
				if !targets[m[1]] {
					t.Errorf("Job %s calls make %s, which is no target", name, m[1])
				}
			}
		}
	}
}

// makeTargets returns the Makefile's targets.
func makeTargets(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for line := range strings.Lines(read(t, filepath.Join(root, "Makefile"))) {
		if m := rule.FindStringSubmatch(line); m != nil {
			out[m[1]] = true
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
