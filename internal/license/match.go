package license

import (
	"slices"
	"strings"
)

// families are the Hub's words for several licences, each with the beginnings of those
// that belong to it (https://huggingface.co/docs/hub/repositories-licenses).
var families = map[string][]string{
	"bsd":      {"bsd-", "0bsd"},
	"cc":       {"cc-", "cc0-"},
	"gpl":      {"gpl-"},
	"lgpl":     {"lgpl-", "lgpllr"},
	"agpl":     {"agpl-"},
	"gfdl":     {"gfdl-"},
	"openrail": {"openrail", "bigscience-openrail", "bigscience-bloom-rail", "bigcode-openrail", "creativeml-openrail"},
	"llama":    {"llama"},
}

// Matches reports whether a name that a person wrote stands for a licence of an
// expression: as its SPDX identifier, the Hub's word, or a family of licences such as
// gpl. Case does not matter.
func Matches(name, id string) bool {
	name, id = Plain(name), Plain(id)
	return name == id || slices.ContainsFunc(families[name], func(prefix string) bool { return strings.HasPrefix(id, prefix) })
}

// Plain returns a licence in the form that is compared: an SPDX identifier, or the
// Hub's word, in small letters.
func Plain(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	for {
		rest, ok := strings.CutPrefix(name, strings.ToLower(refPrefix))
		if !ok {
			break
		}
		name = rest
	}
	if id := FromHub(name); id != "" {
		name = strings.TrimPrefix(strings.ToLower(id), strings.ToLower(refPrefix))
	}
	return name
}

// maxDepth bounds the parentheses of an expression.
const maxDepth = 32

// Satisfies reports whether an expression is satisfied by the licences that are
// allowed: of those that all apply (AND) each must be, of a choice (OR) one. A text
// that is no expression is one licence, and a licence WITH an exception is the licence.
func Satisfies(expression string, allowed func(id string) bool) bool {
	p := &parser{tokens: tokens(expression), allowed: allowed}
	if ok, valid := p.choice(0); valid && len(p.tokens) == 0 {
		return ok
	}
	return allowed(strings.TrimSpace(expression))
}

// tokens returns the words and parentheses of an expression.
func tokens(expression string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression))
}

// A parser reads an expression (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions).
// Its methods report whether what they read is satisfied, and whether it is valid.
type parser struct {
	tokens  []string
	allowed func(id string) bool
}

// next removes the next token if it is a word, whatever its case.
func (p *parser) next(word string) bool {
	if len(p.tokens) == 0 || !strings.EqualFold(p.tokens[0], word) {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *parser) choice(depth int) (ok, valid bool) {
	for {
		one, valid := p.all(depth)
		if !valid {
			return false, false
		}
		ok = ok || one
		if !p.next("OR") {
			return ok, true
		}
	}
}

func (p *parser) all(depth int) (ok, valid bool) {
	ok = true
	for {
		one, valid := p.one(depth)
		if !valid {
			return false, false
		}
		ok = ok && one
		if !p.next("AND") {
			return ok, true
		}
	}
}

func (p *parser) one(depth int) (ok, valid bool) {
	if p.next("(") {
		if depth == maxDepth {
			return false, false
		}
		ok, valid = p.choice(depth + 1)
		return ok, valid && p.next(")")
	}
	id, valid := p.word()
	if !valid {
		return false, false
	}
	if p.next("WITH") {
		if _, valid = p.word(); !valid {
			return false, false
		}
	}
	return p.allowed(id), true
}

// word removes and returns the next token, which must be no operator.
func (p *parser) word() (string, bool) {
	if len(p.tokens) == 0 || slices.ContainsFunc([]string{"AND", "OR", "WITH", "(", ")"}, func(o string) bool { return strings.EqualFold(o, p.tokens[0]) }) {
		return "", false
	}
	word := p.tokens[0]
	p.tokens = p.tokens[1:]
	return word, true
}
