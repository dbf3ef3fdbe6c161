package kit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// tree returns all files below a folder.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func plant(t *testing.T, root string, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKitWorkspace(t *testing.T) {
	root := t.TempDir()
	plant(t, root,
		"kitops/cache/import/kitops_import_1/model.bin", "kitops/cache/pack/kitops_layer_1", "kitops/storage/ingest/1",
		"tmp/1", "work/LICENSE", "certs/old.crt", "home/.docker/config.json",
		"kitops/storage/blobs/sha256/abc", "unpacked/model.bin", "import.json", "lost+found/1")

	w, err := openWorkspace(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"import.json", "kitops/disable-update-notifications", "kitops/storage/blobs/sha256/abc", "lost+found/1", "unpacked/model.bin",
	}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Errorf("What a killed step left should go, and a finished import should stay.\nopenKitWorkspace(...): -want, +got:\n%s", diff)
	}

	if err := w.wipe(); err != nil {
		t.Fatal(err)
	}
	want = []string{"kitops/disable-update-notifications", "lost+found/1"}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Errorf("Of an import nothing should stay.\nwipe(): -want, +got:\n%s", diff)
	}

	file := filepath.Join(root, "file")
	plant(t, root, "file")
	if _, err := openWorkspace(file); err == nil {
		t.Error("A workspace that is no folder should be told.\nopenKitWorkspace(...): want an error")
	}
}

func TestKitStage(t *testing.T) {
	m := marker{Model: "o/m", Commit: "c1", Reference: "r.io/m:v1", Format: pipeline.FormatModelPack, Stage: stageUnpacked}
	other := func(change func(*marker)) *marker {
		o := m
		change(&o)
		return &o
	}
	cases := map[string]struct {
		reason  string
		marked  *marker
		content string
		want    stage
	}{
		"Same":      {reason: "What was made for the same run should be used.", marked: &m, want: stageUnpacked},
		"Imported":  {reason: "The stage should be read from the marker.", marked: other(func(o *marker) { o.Stage = stageImported }), want: stageImported},
		"Commit":    {reason: "Another commit should not be resumed.", marked: other(func(o *marker) { o.Commit = "c2" })},
		"Model":     {reason: "Another model should not be resumed.", marked: other(func(o *marker) { o.Model = "o/n" })},
		"Reference": {reason: "Another reference should not be resumed, since kit stores by reference.", marked: other(func(o *marker) { o.Reference = "r.io/m:v2" })},
		"Format":    {reason: "Another format should not be resumed.", marked: other(func(o *marker) { o.Format = pipeline.FormatModelKit })},
		"Missing":   {reason: "Without a marker there should be nothing to resume."},
		"Half":      {reason: "A marker that cannot be parsed should be ignored.", content: `{"model":"o/m","com`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, err := openWorkspace(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if tc.marked != nil {
				err = w.mark(*tc.marked)
			} else if tc.content != "" {
				err = os.WriteFile(w.marker, []byte(tc.content), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			want := m
			want.Stage = stageNone
			if got := w.stage(want); got != tc.want {
				t.Errorf("\n%s\nstage(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestNeedRoom(t *testing.T) {
	cases := map[string]struct {
		reason string
		size   int64
		stage  stage
		format string
		want   outcome.Reason
	}{
		"Fits":     {reason: "A small model should have room.", size: 1000, format: pipeline.FormatModelPack},
		"TooLarge": {reason: "A model larger than any disk should have none.", size: 1 << 60, format: pipeline.FormatModelPack, want: outcome.NoSpace},
		"Imported": {reason: "A ModelKit that is imported should need no more room.", size: 1 << 60, stage: stageImported, format: pipeline.FormatModelKit},
		"Unpacked": {reason: "A ModelPack should need room until it is packed.", size: 1 << 60, stage: stageUnpacked, format: pipeline.FormatModelPack, want: outcome.NoSpace},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &task{
				run: pipeline.Run{Format: tc.format}, workspace: workspace{root: t.TempDir()},
				files: []file.File{{Path: "model.bin", Size: tc.size}},
			}
			err := r.needRoom(tc.stage)
			var got outcome.Reason
			if err != nil {
				got = outcome.ReasonOf(err)
			}
			if got != tc.want {
				t.Errorf("\n%s\nneedRoom(...): want reason %q, got %v", tc.reason, tc.want, err)
			}
			if tc.want != "" && !strings.Contains(err.Error(), "spec.forProvider.storage.size to at least") {
				t.Errorf("\n%s\nneedRoom(...): the error does not say what to do: %v", tc.reason, err)
			}
		})
	}
}

func TestKitEnvironment(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", "/home/me/.docker")
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com\n")
	t.Setenv("SSL_CERT_DIR", "")
	t.Setenv("SOURCE_DATE_EPOCH", "7")
	t.Setenv("KITOPS_PROGRESS_ADDRESS", ":9797")
	w, err := openWorkspace(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte("an authority"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		run    pipeline.Run
		want   map[string]string // An empty value stands for none.
	}{
		"Plain": {
			reason: "Kit should write to the workspace only, and use none of the caller's own settings.",
			want: map[string]string{
				"KITOPS_HOME": w.kitHome, "HOME": w.home, "TMPDIR": w.temp, "DOCKER_CONFIG": filepath.Join(w.home, ".docker"),
				"HTTPS_PROXY": "http://proxy.example.com", "SSL_CERT_DIR": "", "SOURCE_DATE_EPOCH": "",
				"KITOPS_CLIENT_CERT": "", "KITOPS_CLIENT_KEY": "", "KITOPS_PROGRESS_ADDRESS": "",
			},
		},
		"Given": {
			reason: "Credentials and authorities should come from the run, the latter in addition to the system's.",
			run: pipeline.Run{Source: pipeline.Source{CAFile: ca}, Target: pipeline.Target{
				DockerConfig: "/credentials/docker", CAFile: ca, CertificateFile: "/credentials/tls.crt", KeyFile: "/credentials/tls.key",
			}},
			want: map[string]string{
				"KITOPS_CLIENT_CERT": "/credentials/tls.crt", "KITOPS_CLIENT_KEY": "/credentials/tls.key",
				"DOCKER_CONFIG": "/credentials/docker", "SSL_CERT_DIR": w.certs + ":" + systemCertDirs,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			env, err := environment(tc.run, w)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
				got := ""
				if i >= 0 {
					got = strings.TrimPrefix(env[i], name+"=")
				}
				if got != want {
					t.Errorf("\n%s\nkitEnvironment(...): want %s=%s, got %s", tc.reason, name, want, got)
				}
			}
		})
	}
	if diff := cmp.Diff([]string{"0.crt", "1.crt"}, tree(t, w.certs)); diff != "" {
		t.Errorf("Both authorities should be there.\nkitEnvironment(...): -want, +got:\n%s", diff)
	}
	_, err = environment(pipeline.Run{Source: pipeline.Source{CAFile: "/nowhere/ca.crt"}}, w)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("A file that is not there should be told.\nkitEnvironment(...): got %v", err)
	}
}
