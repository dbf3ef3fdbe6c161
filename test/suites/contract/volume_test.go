package contract

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// addVolume writes files to a folder of a volume, and returns the volume.
func addVolume(t *testing.T, path string, files map[string]string) string {
	t.Helper()
	volume := t.TempDir()
	for name, content := range files {
		p := filepath.Join(volume, path, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return volume
}

// TestVolume packs the files of a volume in both formats, and again from another volume.
func TestVolume(t *testing.T) {
	cases := map[string]struct {
		reason string
		format string
	}{
		"ModelKit":  {reason: "A ModelKit should have all files of the volume's folder.", format: pipeline.FormatModelKit},
		"ModelPack": {reason: "A ModelPack should have all files of the volume's folder.", format: pipeline.FormatModelPack},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.format == pipeline.FormatModelPack {
				needKit(t, "v1.10.0", "ModelPack")
			}
			files := speechFiles(t)
			delete(files, ".gitattributes")
			onVolume := map[string]string{"Kitfile": "manifestVersion: 1.0.0\nmodel: {path: config.json}\n"}
			for name, content := range files {
				onVolume[name] = content
			}
			digests := map[string]bool{}
			for range 2 {
				run := newRun(t, "team/tuned-"+name, tc.format)
				run.Source = pipeline.Source{
					License: "Apache-2.0",
					Volume:  &pipeline.VolumeSource{Name: "pvc://team/training/tuned", Folder: addVolume(t, "tuned", onVolume), Path: "tuned"},
				}
				got, _, err := runKit(t.Context(), t, run)
				if err != nil {
					t.Fatalf("\n%s\nRun(...): %v", tc.reason, err)
				}
				a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
				if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
					t.Errorf("\n%s\nfiles in the registry: -want, +got:\n%s", tc.reason, diff)
				}
				if got.License != "Apache-2.0" || got.Files != len(models.Packed(files)) {
					t.Errorf("\n%s\nresult %+v does not describe the files", tc.reason, got)
				}
				digests[got.Digest] = true
			}
			if len(digests) != 1 {
				t.Errorf("\n%s\nthe same files should give the same digest, got %v", tc.reason, digests)
			}
		})
	}
}
