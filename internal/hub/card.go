package hub

import (
	"cmp"
	"encoding/json"

	"github.com/crossplane-contrib/provider-kitops/internal/card"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

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

// weights are what the Hub tells of a model's safetensors files.
type weights struct {
	Total number `json:"total"`
}

// info is the Hub's answer about a model or a dataset at a revision
// (https://huggingface.co/docs/hub/api).
type info struct {
	ID          string               `json:"id"`
	SHA         string               `json:"sha"`
	Task        card.Words           `json:"pipeline_tag"`
	Library     card.Words           `json:"library_name"`
	Card        section[card.Card]   `json:"cardData"`
	Config      section[card.Config] `json:"config"`
	Safetensors section[weights]     `json:"safetensors"`
	Tags        licenseTags          `json:"tags"`
}

// model returns what is told about the model. The lists of files that it gets into
// are bounded.
func (i info) model() filelist.Model {
	m := card.Model(i.Card.of, i.Config.of)
	m.Task = cmp.Or(i.Task.First(), m.Task)
	m.Library = cmp.Or(i.Library.First(), m.Library)
	m.Parameters = int64(i.Safetensors.of.Total)
	if len(m.Licenses) == 0 {
		m.Licenses = i.Tags
	}
	return m
}
