package hub

import (
	"bytes"
	"cmp"
	"encoding/json"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

// maxWords bounds how many words of a list in a model's card are read.
const maxWords = 64

// A words value is one word or a list of words, as a model card's license is
// (https://huggingface.co/docs/hub/model-cards).
type words []string

// UnmarshalJSON implements json.Unmarshaler. It ignores what is not a word.
func (w *words) UnmarshalJSON(b []byte) error {
	*w = nil
	add := func(b []byte) error {
		var word string
		err := json.Unmarshal(b, &word)
		if word != "" && err == nil && len(*w) < maxWords {
			*w = append(*w, word)
		}
		return err
	}
	if add(b) == nil {
		return nil
	}
	_ = readArray(json.NewDecoder(bytes.NewReader(b)), func(element json.RawMessage) error {
		_ = add(element)
		return nil
	})
	return nil
}

// first returns the first of the words; "" if there are none.
func (w words) first() string {
	if len(w) == 0 {
		return ""
	}
	return w[0]
}

// A number is a count; 0 where there is none, or another value.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	var count int64
	*n = 0
	if json.Unmarshal(b, &count) == nil {
		*n = number(max(count, 0))
	}
	return nil
}

// A section is an object in an answer; its zero value where there is none, or another
// value.
type section[T any] struct{ of T }

// UnmarshalJSON implements json.Unmarshaler.
func (s *section[T]) UnmarshalJSON(b []byte) error {
	var of T
	if json.Unmarshal(b, &of) == nil {
		s.of = of
	}
	return nil
}

// A card is what a model's card says in structured form
// (https://huggingface.co/docs/hub/model-cards, Model card metadata).
type card struct {
	License     words `json:"license"`
	LicenseName words `json:"license_name"`
	LicenseLink words `json:"license_link"`
	Task        words `json:"pipeline_tag"`
	Library     words `json:"library_name"`
	BaseModel   words `json:"base_model"`
	Relation    words `json:"base_model_relation"`
	Datasets    words `json:"datasets"`
}

// A config is what the Hub tells of a model's config.json.
type config struct {
	Architectures words `json:"architectures"`
	ModelType     words `json:"model_type"`
}

// weights are what the Hub tells of a model's safetensors files.
type weights struct {
	Total number `json:"total"`
}

// info is the Hub's answer about a model or a dataset at a revision
// (https://huggingface.co/docs/hub/api).
type info struct {
	ID          string           `json:"id"`
	SHA         string           `json:"sha"`
	Task        words            `json:"pipeline_tag"`
	Library     words            `json:"library_name"`
	Card        section[card]    `json:"cardData"`
	Config      section[config]  `json:"config"`
	Safetensors section[weights] `json:"safetensors"`
	Tags        licenseTags      `json:"tags"`
}

// model returns what is told about the model. The lists of files that it gets into
// are bounded.
func (i info) model() filelist.Model {
	c := i.Card.of
	m := filelist.Model{
		Task:              cmp.Or(i.Task.first(), c.Task.first()),
		Library:           cmp.Or(i.Library.first(), c.Library.first()),
		ModelType:         i.Config.of.ModelType.first(),
		Architectures:     i.Config.of.Architectures,
		Parameters:        int64(i.Safetensors.of.Total),
		BaseModels:        c.BaseModel,
		BaseModelRelation: c.Relation.first(),
		Datasets:          c.Datasets,
		Licenses:          c.License,
		LicenseName:       c.LicenseName.first(),
		LicenseLink:       c.LicenseLink.first(),
	}
	if len(m.Licenses) == 0 {
		m.Licenses = i.Tags
	}
	return m
}
