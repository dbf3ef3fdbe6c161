package contract

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// A shell runs kit as a person would.
type shell struct {
	dir  string
	home string
	env  []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	s := &shell{dir: dir, home: filepath.Join(dir, "kit")}
	s.env = append(os.Environ(), "KITOPS_HOME="+s.home, "HOME="+dir, "SSL_CERT_FILE="+suite.world.caFile,
		"DOCKER_CONFIG="+dockerConfig(t, suite.world.plain.host, password))
	return s
}

// kit runs a command, and fails the test unless it ends as it should: with 0,
// or with kit's one code for every failure.
func (s *shell) kit(t *testing.T, fails bool, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), suite.kit, args...)
	var out, errOut bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &out, &errOut
	err := cmd.Run()
	t.Logf("$ kit %s\n%s%s", strings.Join(args, " "), &out, &errOut)
	var exit *exec.ExitError
	switch {
	case !fails && err != nil:
		t.Fatalf("kit %s: %v", args[0], err)
	case fails && (!errors.As(err, &exit) || exit.ExitCode() != 1):
		t.Fatalf("kit %s: want it to exit with 1, got %v", args[0], err)
	}
	return out.String(), errOut.String()
}

// blobs counts what is in kit's local storage.
func (s *shell) blobs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.home, "storage", "blobs", "sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

// TestCommands goes through kit's commands as the pipeline relies on them,
// with a Kitfile of kit's own making.
func TestCommands(t *testing.T) {
	s := newShell(t)
	files := map[string]string{"README.md": "# Model\n", "model.onnx": "weights", "config.json": "{}"}
	model := addModel(t, files)
	ref := suite.world.plain.host + "/test-org/commands:v1"

	out, _ := s.kit(t, false, "import", model, "--ref", "main", "--tool", "hf", "--tag", ref)
	for _, line := range []string{"Downloading file model.onnx", "Saved model layer: sha256:", "Saved manifest to storage: sha256:"} {
		if !strings.Contains(out, line) {
			t.Errorf("import's output does not have %q", line)
		}
	}
	tags := base64.URLEncoding.EncodeToString([]byte(suite.world.plain.host+"/test-org/commands")) + "-tags.json"
	if _, err := os.Stat(filepath.Join(s.home, "storage", tags)); err != nil {
		t.Errorf("kit's storage does not have the file that tells its tags: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(s.home, "cache", "import")); err == nil && len(entries) > 0 {
		t.Error("a finished import leaves files in the cache")
	}
	if out, _ = s.kit(t, false, "list"); !strings.Contains(out, "test-org/commands") {
		t.Error("list does not name what was imported")
	}

	s.kit(t, false, "unpack", ref, "--dir", filepath.Join(s.dir, "unpacked"))
	got := map[string]string{}
	for name := range files {
		b, err := os.ReadFile(filepath.Join(s.dir, "unpacked", name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(b)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("unpacked files: -want, +got:\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "unpacked", "Kitfile")); err != nil {
		t.Errorf("unpack leaves no Kitfile: %v", err)
	}

	other := suite.world.plain.host + "/test-org/commands:v2"
	s.kit(t, false, "tag", ref, other)
	out, _ = s.kit(t, false, "push", other, "--plain-http")
	a := fetch(t, suite.world.plain, "test-org/commands", "v2")
	if want := "Pushed " + a.Descriptor.Digest.String(); !strings.Contains(out, want) {
		t.Errorf("push's output does not have %q", want)
	}
	if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
		t.Errorf("pushed files: -want, +got:\n%s", diff)
	}

	before := s.blobs(t)
	s.kit(t, false, "remove", other)
	if n := s.blobs(t); n != before {
		t.Errorf("removing one of two tags leaves %d of %d blobs", n, before)
	}
	s.kit(t, false, "remove", ref)
	if n := s.blobs(t); n != 0 {
		t.Errorf("removing the last tag leaves %d of %d blobs: there is less room than the pipeline reckons with", n, before)
	}
}

// TestPackFormats packs a folder in each format and form.
func TestPackFormats(t *testing.T) {
	cases := map[string]struct {
		reason string
		needs  string
		args   []string
		want   string // Media type of the one layer.
	}{
		"ModelKit": {
			reason: "Without a flag, it should be a ModelKit of tar archives.",
			want:   "application/vnd.kitops.modelkit.model.v1.tar",
		},
		"ModelPack": {
			reason: "A ModelPack should have tar archives, if nothing else is said.",
			needs:  "v1.10.0",
			args:   []string{"--use-model-pack"},
			want:   "application/vnd.cncf.model.weight.v1.tar",
		},
		"RawModelPack": {
			reason: "A raw layer should be the file itself.",
			needs:  "v1.15.0",
			args:   []string{"--use-model-pack", "--layer-format", "raw"},
			want:   "application/vnd.cncf.model.weight.v1.raw",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.needs != "" {
				needKit(t, tc.needs, strings.Join(tc.args, " "))
			}
			s := newShell(t)
			repository := "test-org/packed-" + strings.ToLower(name)
			ref := suite.world.plain.host + "/" + repository + ":v1"
			dir := filepath.Join(s.dir, "model")
			if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o750); err != nil {
				t.Fatal(err)
			}
			files := map[string]string{
				"deep/model.onnx": "weights of " + name,
				"Kitfile":         "manifestVersion: 1.0.0\npackage: {name: m, license: mit}\nmodel: {name: m, path: deep/model.onnx}\n",
			}
			for file, text := range files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.kit(t, false, append([]string{"pack", dir, "--tag", ref}, tc.args...)...)
			s.kit(t, false, "push", ref, "--plain-http")
			a := fetch(t, suite.world.plain, repository, "v1")
			delete(files, "Kitfile")
			if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
				t.Errorf("\n%s\nfiles: -want, +got:\n%s", tc.reason, diff)
			}
			if len(a.Manifest.Layers) != 1 || a.Manifest.Layers[0].MediaType != tc.want {
				t.Errorf("\n%s\nlayers: %+v", tc.reason, a.Manifest.Layers)
			}
		})
	}
}

// TestCommandFailures checks by which words a failure can be told.
func TestCommandFailures(t *testing.T) {
	model := addModel(t, map[string]string{"model.onnx": "some weights"})
	ref := suite.world.plain.host + "/test-org/failures:v1"
	s := newShell(t)
	s.kit(t, false, "import", model, "--tool", "hf", "--tag", ref)
	cases := map[string]struct {
		reason string
		env    string
		args   []string
		want   string
	}{
		"UnknownFlag": {
			reason: "A flag that kit does not know should be told by its name.",
			args:   []string{"pack", ".", "--no-such-flag"},
			want:   "unknown flag: --no-such-flag",
		},
		"UnknownModel": {
			reason: "A model that cannot be read should be told by a status.",
			args:   []string{"import", "test-org/none", "--tool", "hf", "--tag", ref},
			want:   "got error code 401 from API",
		},
		"WrongPassword": {
			reason: "Refused credentials should be told by a status.",
			env:    "DOCKER_CONFIG=" + dockerConfig(t, suite.world.plain.host, "wrong"),
			args:   []string{"push", ref, "--plain-http"},
			want:   "got response 401 (Unauthorized) from remote",
		},
		"UntrustedHub": {
			reason: "A certificate that is not trusted should be told as one.",
			env:    "SSL_CERT_FILE=/dev/null",
			args:   []string{"import", model, "--tool", "hf", "--tag", ref},
			want:   "certificate",
		},
		"NoRegistry": {
			reason: "Kit should treat a name without a dot or a port as no registry.",
			args:   []string{"push", "test-org/failures:v1", "--plain-http"},
			want:   "registry is required when pushing",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			sh := *s
			sh.env = append(append([]string(nil), s.env...), tc.env)
			_, stderr := sh.kit(t, true, tc.args...)
			if !strings.Contains(strings.ToLower(stderr), strings.ToLower(tc.want)) {
				t.Errorf("\n%s\nstandard error does not have %q", tc.reason, tc.want)
			}
		})
	}
}

// TestNamesThatBeginAlike shows why the pipeline writes the Kitfile itself: in
// a folder, kit takes a file for another layer's if its name begins with that
// layer's path.
func TestNamesThatBeginAlike(t *testing.T) {
	s := newShell(t)
	model := addModel(t, map[string]string{"model.onnx": "graph", "model.onnx_data": "weights", "notes.unknown": "x"})
	ref := suite.world.plain.host + "/test-org/alike:v1"
	s.kit(t, false, "import", model, "--tool", "hf", "--tag", ref)
	s.kit(t, false, "push", ref, "--plain-http")
	a := fetch(t, suite.world.plain, "test-org/alike", "v1")
	if _, ok := a.Files["model.onnx_data"]; ok {
		t.Log("this kit packs model.onnx_data beside model.onnx by itself")
		return
	}
	t.Logf("by a Kitfile of its own, this kit drops model.onnx_data beside model.onnx")
}
