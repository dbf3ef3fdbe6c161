package kit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A workspace holds the paths in a run's workspace. Kit must write nowhere else: the
// root filesystem of its container is read-only.
type workspace struct {
	root     string
	home     string // HOME
	kitHome  string // KITOPS_HOME
	temp     string // TMPDIR
	work     string // The working directory, empty: kit would take a LICENSE in it for the model's.
	certs    string // Certificate authorities, for SSL_CERT_DIR.
	unpacked string // The model's files, where a ModelPack is made.
	kitfile  string // What kit packs by.
	marker   string // What is done already.
}

// storage returns the path of kit's local storage.
func (w workspace) storage() string { return filepath.Join(w.kitHome, "storage") }

// openWorkspace creates the folders of a workspace and removes what a killed command
// may have left incomplete. What a finished import has left stays.
func openWorkspace(root string) (workspace, error) {
	in := func(name string) string { return filepath.Join(root, name) }
	w := workspace{
		root: root, home: in("home"), kitHome: in("kitops"), temp: in("tmp"), work: in("work"),
		certs: in("certs"), unpacked: in("unpacked"), kitfile: in("Kitfile"), marker: in("import.json"),
	}
	scratch := []string{w.home, w.temp, w.work, w.certs, filepath.Join(w.kitHome, "cache"), filepath.Join(w.storage(), "ingest")}
	for _, dir := range scratch {
		if err := os.RemoveAll(dir); err != nil {
			return w, errors.Wrap(err, "cannot clear the workspace")
		}
	}
	for _, dir := range []string{w.home, w.kitHome, w.temp, w.work, w.certs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return w, errors.Wrap(err, "cannot lay out the workspace")
		}
	}
	// Without this file, each command of kit asks GitHub for a newer release.
	quiet := filepath.Join(w.kitHome, "disable-update-notifications")
	return w, errors.Wrap(os.WriteFile(quiet, nil, 0o600), "cannot lay out the workspace")
}

// wipe removes what was imported, its marker first.
func (w workspace) wipe() error {
	for _, path := range []string{w.marker, w.unpacked, w.storage(), filepath.Join(w.kitHome, "cache")} {
		if err := os.RemoveAll(path); err != nil {
			return errors.Wrap(err, "cannot clear the workspace of an earlier import")
		}
	}
	return nil
}

// A stage is how far a workspace has got.
type stage string

const (
	stageNone     stage = ""
	stageImported stage = "imported" // The ModelKit is in kit's storage.
	stageUnpacked stage = "unpacked" // Its files are unpacked, and it may be gone.
)

// A marker describes what a workspace holds. It exists only while that is complete.
type marker struct {
	Model     string `json:"model"`
	Commit    string `json:"commit"`
	Reference string `json:"reference"`
	Format    string `json:"format"`
	Stage     stage  `json:"stage"`
}

// stage returns the stage that a workspace has reached for what want describes.
func (w workspace) stage(want marker) stage {
	b, err := os.ReadFile(w.marker)
	var got marker
	if err != nil || json.Unmarshal(b, &got) != nil {
		return stageNone
	}
	want.Stage = got.Stage
	if got != want {
		return stageNone
	}
	return got.Stage
}

// mark writes the marker atomically, also if the machine loses power.
func (w workspace) mark(m marker) error {
	b, err := json.Marshal(m)
	if err != nil {
		return errors.Wrap(err, "cannot encode what the workspace holds")
	}
	temp := w.marker + ".new"
	if err := writeSynced(temp, b); err != nil {
		return errors.Wrap(err, "cannot note what the workspace holds")
	}
	if err := os.Rename(temp, w.marker); err != nil {
		return errors.Wrap(err, "cannot note what the workspace holds")
	}
	return errors.Wrap(syncDir(w.root), "cannot note what the workspace holds")
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) {
		// Some network filesystems cannot sync folders, and need not.
		err = nil
	}
	return errors.Join(err, d.Close())
}

// slack is space beside the model's files: manifests, headers of tar archives,
// the filesystem's blocks.
const slack = 32 << 20

// roomNeeded returns how many bytes kit will add to a workspace at a stage. Import
// holds the files and the layers made of them; for a ModelPack, the files are
// unpacked while the ModelKit is still there, and packed when it is gone.
func roomNeeded(stage stage, format string, model int64) int64 {
	switch {
	case stage == stageNone:
		return 2*model + slack
	case format == pipeline.FormatModelPack:
		return model + slack
	}
	return slack
}

// needRoom returns an error if the workspace has too little room for the rest of the
// run.
func (r *task) needRoom(stage stage) error {
	var fsys syscall.Statfs_t
	if err := syscall.Statfs(r.workspace.root, &fsys); err != nil {
		return errors.Wrap(err, "cannot tell how much room the workspace has")
	}
	free := int64(fsys.Bavail) * int64(fsys.Bsize) //nolint:gosec,unconvert // Types differ between systems; no disk is that large.
	model := pipeline.TotalSize(r.files)
	if needed := roomNeeded(stage, r.run.Format, model); free < needed {
		return outcome.Errorf(outcome.NoSpace,
			"kit needs %s in the workspace for this model of %s, and %s are free: raise spec.forProvider.storage.size to at least %s",
			pipeline.FormatBytes(needed), pipeline.FormatBytes(model), pipeline.FormatBytes(free), pipeline.FormatBytes(2*model+2*slack))
	}
	return nil
}
