// Package filelist is the list of a model's files, with their hashes, that a run
// makes of what it stages: the worker pushes it to the registry beside the staged
// manifest, and the controller describes and signs by it what it commits.
package filelist

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// MediaType of an encoded list, and the artifact type of the manifest that refers from
// it to the artifact that it is about.
const MediaType = "application/vnd.kitops.crossplane.filelist.v1+json"

// Bounds of a list. The Hub itself wants fewer than 100,000 files in a model
// (https://huggingface.co/docs/hub/storage-limits).
const (
	// MaxBytes bounds an encoded list.
	MaxBytes = 32 << 20

	// MaxFiles bounds its files.
	MaxFiles = 100_000

	// maxPathBytes bounds a file's path, as the Hub's listing does.
	maxPathBytes = 1024

	// maxTextBytes bounds every other text, and maxTexts a list of texts.
	maxTextBytes = 256
	maxTexts     = 32
)

// limits of the JSON document: each file is a container of five values, and the
// model's facts are few.
var limits = decode.Limits{Bytes: MaxBytes, Containers: MaxFiles + 16, Values: 6*MaxFiles + 16*maxTexts}

// A List is what is known of a model's files.
type List struct {
	// Files of the model, each path once.
	Files []File `json:"files"`

	// Model has what the model's source tells about it.
	Model Model `json:"model"`
}

// A File is a file of a model.
type File struct {
	// Path of the file inside the model, with slashes. It is clean, and never leaves
	// the model's folder.
	Path string `json:"path"`

	// Size in bytes.
	Size int64 `json:"size"`

	// SHA256 of the content, as 64 hex digits in lower case.
	SHA256 string `json:"sha256"`

	// GitSHA1 is git's name of the content, as 40 hex digits in lower case, if its source
	// announced that and no SHA-256, and the run has verified both of the same bytes. By it
	// a later run knows the SHA-256 of a file that its source announces. It is empty if it is
	// not known, and left out of a list that would be too large with it.
	GitSHA1 string `json:"gitSHA1,omitempty"`

	// Format of the file by its name and its first bytes, for example safetensors,
	// gguf or pickle; empty if it is not known.
	Format string `json:"format,omitempty"`
}

// A Model is what the source of a model tells about it: the word of who uploaded it.
// What is not known is empty.
type Model struct {
	// Task that the model is for, for example text-generation.
	Task string `json:"task,omitempty"`

	// Library that loads the model, for example transformers.
	Library string `json:"library,omitempty"`

	// ModelType is the family of the architecture, for example llama.
	ModelType string `json:"modelType,omitempty"`

	// Architectures are the classes that implement it, for example LlamaForCausalLM.
	Architectures []string `json:"architectures,omitempty"`

	// Parameters is how many the model has.
	Parameters int64 `json:"parameters,omitempty"`

	// BaseModels are the models that this one was made from, and BaseModelRelation is
	// how: adapter, merge, quantized or finetune.
	BaseModels        []string `json:"baseModels,omitempty"`
	BaseModelRelation string   `json:"baseModelRelation,omitempty"`

	// Datasets that the model was trained with.
	Datasets []string `json:"datasets,omitempty"`

	// Licenses as the source names them, for example apache-2.0; LicenseName and
	// LicenseLink are those of a licence that the source has no name for.
	Licenses    []string `json:"licenses,omitempty"`
	LicenseName string   `json:"licenseName,omitempty"`
	LicenseLink string   `json:"licenseLink,omitempty"`

	// Scan is the verdict of the Hub's security scan; empty for none.
	Scan string `json:"scan,omitempty"`
}

// Encode returns the list as JSON, sorted by path: the same bytes for the same
// content. Facts about the model that are out of bounds are left out. It returns an
// error if a file is out of bounds, if one is there twice, or if there are too many.
func (l List) Encode() ([]byte, error) {
	l.Model = l.Model.bounded()
	if !slices.IsSortedFunc(l.Files, byPath) {
		l.Files = slices.Clone(l.Files)
		slices.SortFunc(l.Files, byPath)
	}
	if l.Files == nil {
		l.Files = []File{}
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	b, err := l.encode()
	if err == nil && len(b) > MaxBytes {
		b, err = l.withoutGitSHA1().encode()
	}
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, errors.Errorf("the list of files has %d bytes, more than %d", len(b), MaxBytes)
	}
	return b, nil
}

// encode returns the list as JSON.
func (l List) encode() ([]byte, error) {
	out := &bytes.Buffer{}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return nil, errors.Wrap(err, "cannot encode the list of files")
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// withoutGitSHA1 returns the list without what only makes a later run shorter.
func (l List) withoutGitSHA1() List {
	l.Files = slices.Clone(l.Files)
	for i := range l.Files {
		l.Files[i].GitSHA1 = ""
	}
	return l
}

// Decode returns a list that Encode may have encoded. It returns an error for one
// that is out of bounds, that is not sorted by path, or that has a path twice or one
// that leaves the model's folder.
func Decode(b []byte) (List, error) {
	var l List
	if err := limits.JSON(b, &l); err != nil {
		return List{}, errors.Wrap(err, "cannot decode the list of files")
	}
	if err := l.check(); err != nil {
		return List{}, err
	}
	l.Model = l.Model.bounded()
	return l, nil
}

func byPath(a, b File) int { return strings.Compare(a.Path, b.Path) }

// check returns an error unless the files are valid and sorted, and each is there
// once.
func (l List) check() error {
	if len(l.Files) > MaxFiles {
		return errors.Errorf("the list has %d files, more than %d", len(l.Files), MaxFiles)
	}
	for i, f := range l.Files {
		if err := f.check(); err != nil {
			return err
		}
		if i > 0 && byPath(l.Files[i-1], f) >= 0 {
			return errors.Errorf("the list of files is not sorted, or has %q twice", f.Path)
		}
	}
	return nil
}

// sumPattern matches a SHA-256, and gitPattern a SHA-1.
var (
	sumPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	gitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// check returns an error unless the file is valid.
func (f File) check() error {
	switch {
	case !isPath(f.Path):
		return errors.Errorf("the list of files has a path that is none: %.100q", f.Path)
	case f.Size < 0:
		return errors.Errorf("file %q in the list has no size", f.Path)
	case !sumPattern.MatchString(f.SHA256):
		return errors.Errorf("file %q in the list has no SHA-256", f.Path)
	case f.GitSHA1 != "" && !gitPattern.MatchString(f.GitSHA1):
		return errors.Errorf("file %q in the list has a git SHA-1 that is none", f.Path)
	case f.Format != "" && !isText(f.Format):
		return errors.Errorf("file %q in the list has a format that is none", f.Path)
	}
	return nil
}

// isPath reports whether a text is a clean path inside a folder.
func isPath(p string) bool {
	return p != "" && p != "." && len(p) <= maxPathBytes && utf8.ValidString(p) && !strings.ContainsRune(p, 0) &&
		path.Clean(p) == p && !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../")
}

// isText reports whether a text is one short printable line.
func isText(s string) bool {
	return s != "" && len(s) <= maxTextBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// bounded returns the model's facts without those that are out of bounds.
func (m Model) bounded() Model {
	for _, s := range []*string{&m.Task, &m.Library, &m.ModelType, &m.BaseModelRelation, &m.LicenseName, &m.LicenseLink, &m.Scan} {
		if !isText(*s) {
			*s = ""
		}
	}
	for _, all := range []*[]string{&m.Architectures, &m.BaseModels, &m.Datasets, &m.Licenses} {
		*all = texts(*all)
	}
	m.Parameters = max(m.Parameters, 0)
	return m
}

// texts returns those of some texts that are valid, as many as are kept; nil for none.
func texts(all []string) []string {
	var out []string
	for _, s := range all {
		if len(out) < maxTexts && isText(s) {
			out = append(out, s)
		}
	}
	return out
}
