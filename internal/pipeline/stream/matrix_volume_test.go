package stream

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// fromVolume has a run read the files from a folder of a volume.
func fromVolume(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) {
		name = filepath.Join(dir, "tiny", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Error(err)
		}
	}
	for name, content := range files {
		write(name, []byte(content))
	}
	w.run.Source = pipeline.Source{Volume: &pipeline.VolumeSource{Name: "pvc://team/models/tiny", Folder: dir, Path: "tiny"}}
	return servedSource{change: func() {
		for name, content := range otherBytes(files) {
			write(name, content)
		}
	}}
}
