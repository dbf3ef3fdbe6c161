package pipeline

import (
	"cmp"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A kitfile is what kit packs by
// (https://kitops.org/docs/kitfile/format/). This one names every file of the
// model, each to become one layer. A Kitfile of kit's own making names folders
// too, of which no raw layer can be made, and in a folder it loses each file
// whose name begins with that of another layer's: model.onnx_data beside
// model.onnx.
type kitfile struct {
	ManifestVersion string     `json:"manifestVersion"`
	Package         kitPackage `json:"package"`
	Model           *kitModel  `json:"model,omitempty"`
	Code            []kitEntry `json:"code,omitempty"`
	DataSets        []kitEntry `json:"datasets,omitempty"`
	Docs            []kitEntry `json:"docs,omitempty"`
}

type kitPackage struct {
	Name    string   `json:"name"`
	License string   `json:"license,omitempty"`
	Authors []string `json:"authors,omitempty"`
}

type kitModel struct {
	Name  string     `json:"name,omitempty"`
	Path  string     `json:"path"`
	Parts []kitEntry `json:"parts,omitempty"`
}

type kitEntry struct {
	Path string `json:"path"`
}

// Suffixes by which kit itself tells a model's files, and some that it does
// not know.
var (
	kitWeights = []string{
		".safetensors", ".gguf", ".ggml", ".onnx", ".onnx_data", ".bin", ".pt", ".pth", ".pt2", ".ptl", ".ckpt", ".h5", ".keras",
		".pb", ".tflite", ".msgpack", ".npy", ".npz", ".pkl", ".joblib", ".mar", ".llamafile", ".mlmodel", ".caffemodel", ".pmml",
	}
	kitParts = []string{
		".json", ".yaml", ".yml", ".xml", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".vocab", ".proto",
	}
	kitDocs     = []string{".md", ".adoc", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"}
	kitDatasets = []string{".parquet", ".csv", ".tar", ".zip", ".arrow", ".jsonl"}
)

// kitFiles returns those of a model's files that kit can pack. Git's own files
// it passes over, and in the model's top folder also its own. A name is refused
// that kit would make a wrong URL of, since it escapes none, or that it may
// take for another ModelKit's reference, which it would go and fetch.
func kitFiles(all []hub.File) ([]hub.File, error) {
	var files []hub.File
	for _, f := range all {
		switch path.Base(f.Path) {
		case ".gitattributes", ".gitignore":
			continue
		}
		switch f.Path {
		case "Kitfile", "kitfile", ".kitfile", ".kitignore":
			continue
		}
		if strings.ContainsAny(f.Path, "#?%:") {
			return nil, outcome.Errorf(outcome.Unsupported,
				"kit cannot take the file %q with this name: set spec.forProvider.pipeline to Stream", f.Path)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, outcome.Errorf(outcome.NotFound, "the model has no files at this revision: check model and revision")
	}
	return files, nil
}

// newKitfile returns a Kitfile for a model.
func newKitfile(model, license string, files []hub.File) *kitfile {
	author, name, _ := strings.Cut(model, "/")
	k := &kitfile{ManifestVersion: "1.0.0", Package: kitPackage{Name: name, License: license, Authors: []string{author}}}
	var weights []hub.File
	var parts []kitEntry
	for _, f := range files {
		e := kitEntry{Path: f.Path}
		switch base := strings.ToLower(path.Base(f.Path)); {
		case strings.HasPrefix(base, "readme"), strings.HasPrefix(base, "license"), hasAnySuffix(base, kitDocs):
			k.Docs = append(k.Docs, e)
		case hasAnySuffix(base, kitWeights):
			weights = append(weights, f)
		case hasAnySuffix(base, kitParts):
			parts = append(parts, e)
		case hasAnySuffix(base, kitDatasets):
			k.DataSets = append(k.DataSets, e)
		default:
			k.Code = append(k.Code, e)
		}
	}
	if len(weights) == 0 {
		// Without a model there is nothing for them to be parts of.
		k.DataSets = append(k.DataSets, parts...)
		return k
	}
	k.Model = modelOf(name, weights, parts)
	return k
}

// modelOf makes the largest file the model, since a Kitfile has but one, and
// all others its parts.
func modelOf(name string, weights []hub.File, parts []kitEntry) *kitModel {
	largest := slices.MaxFunc(weights, func(a, b hub.File) int { return cmp.Compare(a.Size, b.Size) })
	m := &kitModel{Name: name, Path: largest.Path}
	for _, w := range weights {
		if w.Path != largest.Path {
			m.Parts = append(m.Parts, kitEntry{Path: w.Path})
		}
	}
	m.Parts = append(m.Parts, parts...)
	return m
}

// write writes the Kitfile to a file.
func (k *kitfile) write(file string) error {
	b, err := yaml.Marshal(k)
	if err != nil {
		return errors.Wrap(err, "cannot encode the Kitfile")
	}
	return errors.Wrap(os.WriteFile(file, b, 0o600), "cannot write the Kitfile")
}

func hasAnySuffix(s string, suffixes []string) bool {
	return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(s, suffix) })
}
