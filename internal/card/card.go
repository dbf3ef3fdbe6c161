// Package card reads what a model's own files tell about it: the card in README.md and
// config.json. It is the word of who uploaded them.
package card

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

const (
	// MaxBytes is how many of the first bytes of README.md hold all of a card that is
	// read.
	MaxBytes = 64 << 10

	// MaxConfigBytes bounds the config.json that is read.
	MaxConfigBytes = 1 << 20

	// MaxWords bounds how many words of a list are read.
	MaxWords = 64
)

// Words are one word or a list of words, as a card's license is
// (https://huggingface.co/docs/hub/model-cards).
type Words []string

// UnmarshalJSON implements json.Unmarshaler. It ignores what is not a word.
func (w *Words) UnmarshalJSON(b []byte) error {
	*w = nil
	if w.add(b) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil //nolint:nilerr // What is no list has no words.
	}
	var element json.RawMessage
	for d.More() && d.Decode(&element) == nil {
		_ = w.add(element)
	}
	return nil
}

// add adds a word, and reports whether it is one.
func (w *Words) add(b []byte) bool {
	var word string
	if json.Unmarshal(b, &word) != nil {
		return false
	}
	w.append(word)
	return true
}

func (w *Words) append(word string) {
	if word != "" && len(*w) < MaxWords {
		*w = append(*w, word)
	}
}

// First returns the first of the words; "" if there are none.
func (w Words) First() string {
	if len(w) == 0 {
		return ""
	}
	return w[0]
}

// A Card is what a model's card says in structured form
// (https://huggingface.co/docs/hub/model-cards, Model card metadata).
type Card struct {
	License     Words `json:"license"`
	LicenseName Words `json:"license_name"`
	LicenseLink Words `json:"license_link"`
	Task        Words `json:"pipeline_tag"`
	Library     Words `json:"library_name"`
	BaseModel   Words `json:"base_model"`
	Relation    Words `json:"base_model_relation"`
	Datasets    Words `json:"datasets"`
}

// A Config is what a model's config.json says
// (https://huggingface.co/docs/transformers/main_classes/configuration).
type Config struct {
	Architectures Words `json:"architectures"`
	ModelType     Words `json:"model_type"`
}

// Model returns what a card and a configuration tell about a model. A list of files,
// which it gets into, bounds it.
func Model(c Card, o Config) filelist.Model {
	return filelist.Model{
		Task:              c.Task.First(),
		Library:           c.Library.First(),
		ModelType:         o.ModelType.First(),
		Architectures:     o.Architectures,
		BaseModels:        c.BaseModel,
		BaseModelRelation: c.Relation.First(),
		Datasets:          c.Datasets,
		Licenses:          c.License,
		LicenseName:       c.LicenseName.First(),
		LicenseLink:       c.LicenseLink.First(),
	}
}

// ReadConfig returns what a config.json says; the zero value if it is not valid.
func ReadConfig(b []byte) Config {
	var o Config
	if decode.JSON(b, &o) != nil {
		return Config{}
	}
	return o
}

// Read returns the card at the start of a README.md: YAML between two lines of three
// dashes. Its first MaxBytes bytes are enough. The card is the zero value if there is
// none, or none that is valid. A card with aliases, which can be large when they are
// expanded, is not valid.
func Read(readme []byte) Card {
	var document yaml.Node
	front, ok := frontMatter(readme[:min(len(readme), MaxBytes)])
	if !ok || yaml.Unmarshal(front, &document) != nil || len(document.Content) == 0 || hasAlias(&document) {
		return Card{}
	}
	var c Card
	fields := map[string]*Words{
		"license": &c.License, "license_name": &c.LicenseName, "license_link": &c.LicenseLink,
		"pipeline_tag": &c.Task, "library_name": &c.Library,
		"base_model": &c.BaseModel, "base_model_relation": &c.Relation, "datasets": &c.Datasets,
	}
	if top := document.Content[0]; top.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(top.Content); i += 2 {
			if w := fields[top.Content[i].Value]; w != nil {
				*w = wordsOf(top.Content[i+1])
			}
		}
	}
	return c
}

// frontMatter returns what is between the first two lines of three dashes, if the first
// is the start.
func frontMatter(b []byte) ([]byte, bool) {
	b = bytes.ReplaceAll(bytes.TrimPrefix(b, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	b, ok := bytes.CutPrefix(b, []byte("---\n"))
	if !ok {
		return nil, false
	}
	front, _, ok := bytes.Cut(append([]byte("\n"), b...), []byte("\n---"))
	return front, ok
}

// hasAlias reports whether a node is or has an alias.
func hasAlias(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		return true
	}
	for _, c := range n.Content {
		if hasAlias(c) {
			return true
		}
	}
	return false
}

// wordsOf returns the words of a node: one, or those in a list.
func wordsOf(n *yaml.Node) Words {
	var w Words
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, one := range nodes {
		if one.Kind == yaml.ScalarNode && one.ShortTag() == "!!str" {
			w.append(one.Value)
		}
	}
	return w
}
