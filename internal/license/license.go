// Package license converts a model's licences from the words of the Hub, of which a
// model card has one or several, to an SPDX expression
// (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions).
package license

import (
	"slices"
	"strings"
)

const (
	// and joins licences that all apply.
	and = " AND "

	// refPrefix is the prefix of the identifier of a licence that is not in SPDX's list.
	refPrefix = "LicenseRef-"

	// Others stands for the licences that do not fit into an expression.
	Others = refPrefix + "others"

	// Unknown is the Hub's word for a licence that is not known.
	Unknown = "unknown"

	// maxWordBytes bounds a word of the Hub.
	maxWordBytes = 64
)

// MaxBytes bounds an expression, which goes into an Artifact's status and into
// annotations.
const MaxBytes = 256

// identifiers maps the Hub's words
// (https://huggingface.co/docs/hub/repositories-licenses) to SPDX identifiers. A word
// for a family of licences, such as gpl, has none, and a version of the GPL does not
// allow later versions.
var identifiers = bySmallLetters(map[string]string{
	"agpl-3.0": "AGPL-3.0-only", "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only",
	"lgpl-2.1": "LGPL-2.1-only", "lgpl-3.0": "LGPL-3.0-only", "lgpl-lr": "LGPLLR",
	"c-uda": "C-UDA-1.0", "odc-by": "ODC-By-1.0", "odbl": "ODbL-1.0", "pddl": "PDDL-1.0",
}, []string{
	"AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
	"CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0",
	"CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0",
	"CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ECL-2.0", "EPL-1.0", "EPL-2.0", "etalab-2.0", "EUPL-1.1", "EUPL-1.2",
	"ISC", "LPPL-1.3c", "MIT", "MPL-2.0", "MS-PL", "NCSA", "OFL-1.1", "OSL-3.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
})

func bySmallLetters(others map[string]string, identifiers []string) map[string]string {
	for _, id := range identifiers {
		others[strings.ToLower(id)] = id
	}
	return others
}

// FromHub returns the SPDX expression of the Hub's words for licences, or "" for none. A
// word without an SPDX identifier becomes a LicenseRef. Anything but words is omitted.
func FromHub(words ...string) string {
	ids := make([]string, 0, len(words))
	for _, w := range words {
		w = strings.TrimSpace(w)
		if id, ok := identifiers[strings.ToLower(w)]; ok {
			ids = append(ids, id)
		} else if ref := strings.Map(idChar, w); isWord(w) {
			ids = append(ids, refPrefix+ref)
		}
	}
	return Join(ids)
}

// IsIdentifier reports whether s is one of the SPDX identifiers to which FromHub converts
// the Hub's words.
func IsIdentifier(s string) bool {
	for _, id := range identifiers {
		if id == s {
			return true
		}
	}
	return false
}

// isWord reports whether w has the form of the Hub's words, for example openrail++.
func isWord(w string) bool {
	if w == "" || len(w) > maxWordBytes || !isIDChar(rune(w[0])) {
		return false
	}
	return strings.IndexFunc(w, func(r rune) bool { return !isIDChar(r) && !strings.ContainsRune(" _+", r) }) < 0
}

// idChar replaces a character that an SPDX identifier may not have.
func idChar(r rune) rune {
	if isIDChar(r) {
		return r
	}
	return '-'
}

func isIDChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.'
}

// Join returns one expression of several that all apply, or "" for none. It replaces
// the Hub's words by their SPDX identifiers, and keeps other text. If several would be
// longer than MaxBytes, one LicenseRef stands for those that do not fit.
func Join(expressions []string) string {
	var all []string
	for _, e := range expressions {
		all = append(all, Split(e)...)
	}
	if len(all) == 1 {
		return all[0]
	}
	out := ""
	for i, one := range all {
		if slices.Contains(all[:i], one) {
			continue
		}
		if strings.Contains(one, " OR ") && !strings.HasPrefix(one, "(") {
			one = "(" + one + ")"
		}
		if out != "" {
			one = and + one
		}
		if len(out)+len(one) > MaxBytes-len(and+Others) {
			return strings.TrimPrefix(out+and+Others, and)
		}
		out += one
	}
	return out
}

// Split returns the expressions of a joined one. It does not split an expression with
// parentheses.
func Split(expression string) []string {
	parts := []string{expression}
	if !strings.Contains(expression, "(") && !strings.Contains(expression, " OR ") {
		parts = strings.Split(expression, and)
	}
	var all []string
	for _, one := range parts {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if id, ok := identifiers[strings.ToLower(one)]; ok {
			one = id
		}
		all = append(all, one)
	}
	return all
}
