package file

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Bounds of a filter, so that no spec can keep a program busy.
const (
	maxPatterns      = 256
	maxPatternLength = 512
)

// A Filter says which files of a model are wanted, by patterns as
// huggingface_hub takes them for allow_patterns and ignore_patterns
// (https://huggingface.co/docs/huggingface_hub/guides/download): * matches
// any characters, slashes too, ? any one, [abc], [a-c] and [!abc] one of these, or
// none of these. Everything else matches itself, with its case. A pattern that ends
// with a slash matches all that the folder holds. The zero
// Filter keeps everything.
type Filter struct {
	// Include has the patterns of which a file's path must match one; with
	// none, each file is wanted.
	Include []string

	// Exclude has the patterns of which it must match none.
	Exclude []string
}

// Keep reports whether a file with this path is wanted.
func (f Filter) Keep(path string) bool {
	keep, _ := f.Selection().Keep(context.Background(), path)
	return keep
}

// A Selection is a Filter with which many paths are compared.
type Selection struct{ include, exclude []string }

// Selection returns the filter with its patterns in the form that is matched.
func (f Filter) Selection() Selection {
	all := func(patterns []string) []string {
		out := make([]string, len(patterns))
		for i, p := range patterns {
			out[i] = normal(p)
		}
		return out
	}
	return Selection{include: all(f.Include), exclude: all(f.Exclude)}
}

// Keep reports whether a file with this path is wanted. It returns the context's error if
// that ends before all patterns were compared.
func (s Selection) Keep(ctx context.Context, path string) (bool, error) {
	matches := func(p string) bool { return ctx.Err() != nil || match(p, path) }
	keep := (len(s.include) == 0 || slices.ContainsFunc(s.include, matches)) && !slices.ContainsFunc(s.exclude, matches)
	return keep, ctx.Err()
}

// Apply returns the files that are wanted. None of them may be left.
func (f Filter) Apply(files []File) []File {
	kept := make([]File, 0, len(files))
	selection := f.Selection()
	for _, one := range files {
		if keep, _ := selection.Keep(context.Background(), one.Path); keep {
			kept = append(kept, one)
		}
	}
	return kept
}

// Validate returns an outcome.Error that names the first pattern which can
// match no file, or is not meant as it will be understood.
func (f Filter) Validate() error {
	for _, side := range []struct {
		name     string
		patterns []string
	}{{"include", f.Include}, {"exclude", f.Exclude}} {
		if len(side.patterns) > maxPatterns {
			return outcome.Errorf(outcome.Unsupported, "files.%s has %d patterns, and %d are the most", side.name, len(side.patterns), maxPatterns)
		}
		for _, p := range side.patterns {
			if wrong := wrongWith(p); wrong != "" {
				return outcome.Errorf(outcome.Unsupported, "files.%s has the pattern %q: %s", side.name, outcome.Shorten(p), wrong)
			}
		}
	}
	return nil
}

// wrongWith returns what is wrong with a pattern, and what to write.
func wrongWith(pattern string) string {
	p := normal(pattern)
	switch {
	case p == "":
		return "an empty pattern matches nothing; leave it out"
	case utf8.RuneCountInString(p) > maxPatternLength:
		return "it is longer than any path"
	case !utf8.ValidString(p) || strings.IndexFunc(p, unicode.IsControl) >= 0:
		return "no path has such characters"
	case strings.HasPrefix(p, "/"), strings.HasPrefix(p, "./"), strings.HasPrefix(p, "../"):
		return "paths begin inside the model; write it without what is before the first name"
	case strings.Contains(p, "//"), strings.Contains(p, "/./"), strings.Contains(p, "/../"):
		return "no path has a part that is empty, . or .."
	case strings.ContainsRune(p, '{') && strings.ContainsRune(p, '}') && !strings.ContainsRune(p, '['):
		return "there are no alternatives in braces; write a pattern for each, or [{] for a brace"
	}
	return ""
}

// normal returns a pattern in the form that is matched.
func normal(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	if strings.HasSuffix(p, "/") {
		return p + "*"
	}
	return p
}

// match reports whether all of name matches a pattern as in Python's
// fnmatch.fnmatchcase (https://docs.python.org/3/library/fnmatch.html).
func match(pattern, name string) bool {
	// Where to continue if what follows the last star does not match: the star
	// takes one more character. An earlier star need not be tried again.
	star, again := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, again = p, n
			p++
			continue
		}
		c, size := utf8.DecodeRuneInString(name[n:])
		if width, ok := matchOne(pattern[p:], c); ok {
			p += width
			n += size
			continue
		}
		if star < 0 {
			return false
		}
		_, size = utf8.DecodeRuneInString(name[again:])
		again += size
		p, n = star+1, again
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne reports whether a character matches what a pattern begins with, and how
// long that is.
func matchOne(pattern string, c rune) (int, bool) {
	if pattern == "" {
		return 0, false
	}
	first, width := utf8.DecodeRuneInString(pattern)
	if first == '?' {
		return width, true
	}
	if first == '[' {
		if set, ok := cutSet(pattern); ok {
			return len(set) + 2, inSet(set, c)
		}
	}
	return width, c == first
}

// cutSet returns what is between the brackets that a pattern begins with. A
// bracket right after the first, or after its !, is one of the set; without a
// closing bracket it matches itself.
func cutSet(pattern string) (string, bool) {
	from := 1
	if strings.HasPrefix(pattern[from:], "!") {
		from++
	}
	if strings.HasPrefix(pattern[from:], "]") {
		from++
	}
	end := strings.IndexByte(pattern[from:], ']')
	if end < 0 {
		return "", false
	}
	return pattern[1 : from+end], true
}

// inSet reports whether a set of characters and ranges, or with a ! before it all
// others, has a character. A range whose end is before its start is empty.
func inSet(set string, c rune) bool {
	rest, inverted := strings.CutPrefix(set, "!")
	runes := []rune(rest)
	found := false
	for i := 0; i < len(runes); i++ {
		low, high := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' {
			high = runes[i+2]
			i += 2
		}
		found = found || low <= c && c <= high
	}
	return found != inverted
}
