package kit

import (
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// packable returns the files that kit can pack: those of a model without the ones
// in its top folder that kit takes for its own. It returns an error for a name that
// kit would make a wrong URL of, since it escapes none, or that it may take for
// another ModelKit's reference, which it would fetch.
func packable(all []file.File) ([]file.File, error) {
	var files []file.File
	for _, f := range all {
		if modelpack.KitLeavesOut(f.Path) {
			continue
		}
		if strings.ContainsAny(f.Path, "#?%:") {
			return nil, outcome.Errorf(outcome.Unsupported,
				"kit cannot take the file %q with this name: set spec.forProvider.pipeline to Stream", f.Path)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, outcome.Errorf(outcome.NotFound, "the source has no files that kit packs: check spec.forProvider.source")
	}
	return files, nil
}

// newKitfile returns a Kitfile for a model with a name and, if it is known, an author.
func newKitfile(author, name, license string, files []file.File) *modelpack.Kitfile {
	all := make([]modelpack.File, 0, len(files))
	for _, f := range files {
		all = append(all, modelpack.File{Path: f.Path, Size: f.Size})
	}
	k := modelpack.NewKitfile(all)
	k.Package = modelpack.KitPackage{Name: name, License: license}
	if author != "" {
		k.Package.Authors = []string{author}
	}
	if k.Model != nil {
		k.Model.Name = name
	}
	return k
}

// writeKitfile writes a Kitfile to a file.
func writeKitfile(k *modelpack.Kitfile, file string) error {
	b, err := yaml.Marshal(k)
	if err != nil {
		return errors.Wrap(err, "cannot encode the Kitfile")
	}
	return errors.Wrap(os.WriteFile(file, b, 0o600), "cannot write the Kitfile")
}
