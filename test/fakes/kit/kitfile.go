package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// A kitfile is what kit packs by (https://kitops.org/docs/kitfile/format/).
type kitfile struct {
	ManifestVersion string  `json:"manifestVersion"`
	Package         pkg     `json:"package,omitempty"`
	Model           *model  `json:"model,omitempty"`
	Code            []entry `json:"code,omitempty"`
	DataSets        []entry `json:"datasets,omitempty"`
	Docs            []entry `json:"docs,omitempty"`
}

type pkg struct {
	Name        string   `json:"name,omitempty"`
	Version     string   `json:"version,omitempty"`
	Description string   `json:"description,omitempty"`
	License     string   `json:"license,omitempty"`
	Authors     []string `json:"authors,omitempty"`
}

type model struct {
	entry `json:",inline"`

	Parts []entry `json:"parts,omitempty"`
}

// An entry is a file or a folder that becomes one layer.
type entry struct {
	Name        string `json:"name,omitempty"`
	Path        string `json:"path,omitempty"`
	License     string `json:"license,omitempty"`
	Description string `json:"description,omitempty"`

	// What the layer became; a ModelKit's config says it, a Kitfile does not.
	Digest string `json:"digest,omitempty"`
	DiffID string `json:"diffId,omitempty"`
}

// A kind of layer, as the media types of a ModelKit and of a ModelPack call
// it.
type kind struct{ kit, pack string }

var (
	kindModel   = kind{"model", "weight"}
	kindPart    = kind{"modelpart", "weight.config"}
	kindCode    = kind{"code", "code"}
	kindDataset = kind{"dataset", "dataset"}
	kindDocs    = kind{"docs", "doc"}
)

// each calls f for every entry, in the order of a manifest's layers.
func (k *kitfile) each(f func(kind, *entry) error) error {
	if k.Model != nil {
		if err := f(kindModel, &k.Model.entry); err != nil {
			return err
		}
		if err := eachOf(kindPart, k.Model.Parts, f); err != nil {
			return err
		}
	}
	if err := eachOf(kindCode, k.Code, f); err != nil {
		return err
	}
	if err := eachOf(kindDataset, k.DataSets, f); err != nil {
		return err
	}
	return eachOf(kindDocs, k.Docs, f)
}

func eachOf(k kind, entries []entry, f func(kind, *entry) error) error {
	for i := range entries {
		if err := f(k, &entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// paths of all entries.
func (k *kitfile) paths() []string {
	var out []string
	_ = k.each(func(_ kind, e *entry) error {
		out = append(out, path.Clean(e.Path))
		return nil
	})
	return out
}

func readKitfile(file string) (*kitfile, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("failed to read Kitfile: %w", err)
	}
	k := &kitfile{}
	if err := yaml.UnmarshalStrict(b, k); err != nil {
		return nil, fmt.Errorf("failed to load Kitfile from %s: %w", file, err)
	}
	seen := map[string]bool{}
	for _, p := range k.paths() {
		if seen[p] || !filepath.IsLocal(p) {
			return nil, fmt.Errorf("errors while validating Kitfile: path %s is used twice, or leaves the folder", p)
		}
		seen[p] = true
	}
	return k, nil
}

// write writes the Kitfile to a folder, without what the layers became.
func (k *kitfile) write(dir string) error {
	plain := &kitfile{}
	b, err := yaml.Marshal(k)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(b, plain); err != nil {
		return err
	}
	_ = plain.each(func(_ kind, e *entry) error {
		e.Digest, e.DiffID = "", ""
		return nil
	})
	if b, err = yaml.Marshal(plain); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Kitfile"), b, 0o600)
}

// generateKitfile makes a Kitfile for a model's files, after kit's rules in
// short: weights, JSON and text are the model's, what reads as a document is
// one, and one unknown file, or a folder that is not weights alone, makes all
// the rest one layer of code.
func generateKitfile(repository string, files []string) *kitfile {
	author, name, _ := strings.Cut(repository, "/")
	k := &kitfile{ManifestVersion: "1.0.0", Package: pkg{Name: name, Authors: []string{author}}}
	var weights, parts []entry
	for _, f := range files {
		e := entry{Path: f}
		lower := strings.ToLower(path.Base(f))
		switch nested := path.Dir(f) != "."; {
		case hasSuffix(f, ".onnx", ".safetensors", ".gguf", ".pt", ".pth", ".h5"):
			weights = append(weights, e)
		case nested:
			k.Code = []entry{{Path: "."}}
		case strings.HasPrefix(lower, "readme"), strings.HasPrefix(lower, "license"), hasSuffix(f, ".md", ".html", ".pdf"):
			k.Docs = append(k.Docs, e)
		case hasSuffix(f, ".json", ".yaml", ".xml", ".txt"):
			parts = append(parts, e)
		default:
			k.Code = []entry{{Path: "."}}
		}
	}
	if len(weights) == 0 {
		k.DataSets = parts
		return k
	}
	k.Model = &model{entry: weights[0], Parts: append(weights[1:], parts...)}
	return k
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}
