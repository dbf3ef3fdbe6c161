package images

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// packageStream is the package's metadata and the CustomResourceDefinitions of
// a source tree.
func packageStream(root string) ([]byte, error) {
	crds, err := filepath.Glob(filepath.Join(root, "package", "crds", "*.yaml"))
	if err != nil {
		return nil, errors.Wrap(err, "cannot list the CRDs")
	}
	if len(crds) == 0 {
		return nil, errors.New("there are no CRDs in package/crds: build the package in the source tree")
	}
	sort.Strings(crds)
	return stream(append([]string{filepath.Join(root, "package", "crossplane.yaml")}, crds...))
}

// examplesStream is all examples of a source tree but those of how to install
// the provider, only when a package is inspected.
func examplesStream(root string) ([]byte, error) {
	var files []string
	top := filepath.Join(root, "examples")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(top, "install"):
			return fs.SkipDir
		case filepath.Ext(path) == ".yaml":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Wrap(err, "cannot list the examples")
	}
	return stream(files)
}

// stream joins YAML files.
func stream(files []string) ([]byte, error) {
	var b bytes.Buffer
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, errors.Wrap(err, "cannot read a part of the package")
		}
		data = bytes.TrimPrefix(bytes.TrimSpace(data), []byte("---\n"))
		b.WriteString("---\n")
		b.Write(data)
		b.WriteString("\n")
	}
	return b.Bytes(), nil
}
