package pull

import (
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// nameAll gives the files of the verified archive with this key their names. The
// state has them before the first one does.
func (j *job) nameAll(key string, entries []entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	names := make([]string, 0, len(entries))
	fresh := make([]entry, 0, len(entries))
	for _, e := range entries {
		here, err := j.nameable(e)
		if err != nil {
			return err
		}
		if !here {
			fresh = append(fresh, e)
		}
		names = append(names, e.name)
	}
	c := change{Files: make(map[string]*file, len(fresh)), Archives: map[string][]string{key: names}}
	for _, e := range fresh {
		j.state.Files[e.name] = &e.file
		c.Files[e.name] = &e.file
	}
	j.state.Archives[key] = names
	if err := j.folder.record(j.state, c, true); err != nil {
		return err
	}
	for _, e := range fresh {
		if err := j.folder.put(e.from, e.name); err != nil {
			return err
		}
	}
	return j.folder.failed(unpacked(key), j.folder.RemoveAll(unpacked(key)))
}

// nameable says whether a file is there already, as another layer holds it too,
// and refuses to put it in the place of anything else.
func (j *job) nameable(e entry) (bool, error) {
	claimed := j.state.Files[e.name]
	switch {
	case claimed == nil:
		_, err := j.adopt(e.name, e.file)
		return false, err
	case claimed.Digest != e.file.Digest:
		return false, outcome.Errorf(outcome.Unsupported, "the artifact holds the file %q twice, with different content", outcome.Shorten(e.name))
	}
	return claimed.ModTime != 0 && j.folder.unchanged(e.name, claimed), nil
}
