package file

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestFilter(t *testing.T) {
	files := []string{
		".gitattributes", "README.md", "a+b #1%?.json", "config.json", "data/x.parquet", "model-00001-of-00002.safetensors",
		"notes.MD", "onnx/fp16/model.onnx", "onnx/model.onnx", "original/params.json", "ü/ñ.txt", "x[1].bin", "x{1}.bin",
	}
	type args struct {
		include, exclude []string
	}
	cases := map[string]struct {
		reason string
		args   args
		want   []string
	}{
		"None":       {reason: "No pattern keeps everything.", want: files},
		"Exact":      {reason: "A path stands for itself.", args: args{include: []string{"config.json", "onnx/model.onnx"}}, want: []string{"config.json", "onnx/model.onnx"}},
		"Slashes":    {reason: "A star crosses slashes.", args: args{include: []string{"*.json"}}, want: []string{"a+b #1%?.json", "config.json", "original/params.json"}},
		"Inside":     {reason: "In the middle too.", args: args{include: []string{"onnx/*.onnx"}}, want: []string{"onnx/fp16/model.onnx", "onnx/model.onnx"}},
		"Folder":     {reason: "A folder stands for all in it.", args: args{include: []string{"onnx/"}}, want: []string{"onnx/fp16/model.onnx", "onnx/model.onnx"}},
		"NoFolder":   {reason: "Without its slash it is a file.", args: args{include: []string{"onnx"}}},
		"Backslash":  {reason: "So do those of another system.", args: args{include: []string{`onnx\fp16\*`}}, want: []string{"onnx/fp16/model.onnx"}},
		"Case":       {reason: "Case counts.", args: args{include: []string{"*.MD"}}, want: []string{"notes.MD"}},
		"Dot":        {reason: "A leading dot is a character.", args: args{include: []string{"*attributes"}}, want: []string{".gitattributes"}},
		"One":        {reason: "A question mark is one character, of any width.", args: args{include: []string{"?/?.txt"}}, want: []string{"ü/ñ.txt"}},
		"Set":        {reason: "A set is one of its characters.", args: args{include: []string{"[a-c]*"}}, want: []string{"a+b #1%?.json", "config.json"}},
		"NotSet":     {reason: "Or one of all others.", args: args{include: []string{"[!a-zA-Z.]*"}}, want: []string{"ü/ñ.txt"}},
		"Bracket":    {reason: "A bracket in a set is a character.", args: args{include: []string{"x[[]1[]].bin"}}, want: []string{"x[1].bin"}},
		"Brace":      {reason: "A brace too.", args: args{include: []string{"x[{]1[}].bin"}}, want: []string{"x{1}.bin"}},
		"OpenSet":    {reason: "A bracket that is not closed is one.", args: args{include: []string{"x[1"}}},
		"Unusual":    {reason: "All else stands for itself.", args: args{include: []string{"a+b #1%[?].json"}}, want: []string{"a+b #1%?.json"}},
		"Exclude":    {reason: "What is excluded goes.", args: args{exclude: []string{"*.onnx", "*.json", "*.bin", ".*", "*.MD"}}, want: []string{"README.md", "data/x.parquet", "model-00001-of-00002.safetensors", "ü/ñ.txt"}},
		"Both":       {reason: "Also if it is included.", args: args{include: []string{"*.json"}, exclude: []string{"original/*"}}, want: []string{"a+b #1%?.json", "config.json"}},
		"NothingFit": {reason: "Nothing may be left.", args: args{include: []string{"*.gguf"}}},
		"Stars":      {reason: "Several stars are one.", args: args{include: []string{"**/fp16/**"}}, want: []string{"onnx/fp16/model.onnx"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := Filter{Include: tc.args.include, Exclude: tc.args.exclude}
			if err := f.Validate(); err != nil {
				t.Errorf("\n%s\nValidate(): %v", tc.reason, err)
			}
			all := make([]File, 0, len(files))
			for _, p := range files {
				all = append(all, File{Path: p})
			}
			var got []string
			for _, file := range f.Apply(all) {
				got = append(got, file.Path)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nApply(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFilterValidate(t *testing.T) {
	cases := map[string]struct {
		reason  string
		filter  Filter
		message string // A part of it; empty for no error.
	}{
		"Zero":     {reason: "No pattern is wrong."},
		"Empty":    {reason: "An empty pattern is a slip.", filter: Filter{Include: []string{"*", ""}}, message: `files.include has the pattern ""`},
		"Exclude":  {reason: "The side is named.", filter: Filter{Exclude: []string{"/x"}}, message: `files.exclude has the pattern "/x"`},
		"Rooted":   {reason: "No path begins with a slash.", filter: Filter{Include: []string{"/config.json"}}, message: "inside the model"},
		"Here":     {reason: "Nor with a dot of its own.", filter: Filter{Include: []string{"./config.json"}}, message: "inside the model"},
		"Parent":   {reason: "Nor with two.", filter: Filter{Include: []string{"../*"}}, message: "inside the model"},
		"Middle":   {reason: "Nor has it any within.", filter: Filter{Include: []string{"a/../b"}}, message: "no path has a part"},
		"Double":   {reason: "Nor two slashes.", filter: Filter{Include: []string{"a//b"}}, message: "no path has a part"},
		"Braces":   {reason: "What would silently match nothing is told.", filter: Filter{Include: []string{"*.{json,txt}"}}, message: "a pattern for each"},
		"Controls": {reason: "A name is one line.", filter: Filter{Include: []string{"a\nb"}}, message: "no path has such characters"},
		"Invalid":  {reason: "And is text.", filter: Filter{Include: []string{"\xff"}}, message: "no path has such characters"},
		"Long":     {reason: "A pattern has an end.", filter: Filter{Include: []string{strings.Repeat("x", maxPatternLength+1)}}, message: "longer than any path"},
		"Many":     {reason: "So have patterns.", filter: Filter{Exclude: make([]string, maxPatterns+1)}, message: "files.exclude has 257 patterns"},
		"Hidden":   {reason: "Hidden files have a dot.", filter: Filter{Include: []string{".git*", "...", "a.b/.c", "..a"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.filter.Validate()
			if (err != nil) != (tc.message != "") || err != nil && (outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.message)) {
				t.Errorf("\n%s\nValidate(): want an error with %q, got %v", tc.reason, tc.message, err)
			}
		})
	}
}

// What Python 3.11's fnmatch.fnmatchcase says.
func TestMatchAsPython(t *testing.T) {
	cases := map[string]struct {
		pattern, name string
		want          bool
	}{
		"EmptySet":        {"[z-a]", "a", false},
		"EmptyNotSet":     {"[!z-a]", "a", true},
		"Caret":           {"[^a]", "^", true},
		"CaretNoNot":      {"[^a]", "b", false},
		"Exclamation":     {"[!!]", "!", false},
		"LoneExclamation": {"[!]", "[!]", true},
		"ClosingFirst":    {"[]a]", "]", true},
		"NotClosing":      {"[!]a]", "b", true},
		"HyphenFirst":     {"[-a]", "-", true},
		"HyphenLast":      {"[a-]", "-", true},
		"HyphenRange":     {"[--a]", "0", true},
		"AfterRange":      {"[a-c-e]", "d", false},
		"AfterRangeSign":  {"[a-c-e]", "-", true},
		"Ampersands":      {"[&&|~]", "&", true},
		"Unclosed":        {"[a", "[a", true},
		"UnclosedStar":    {"[*", "[bc", true},
		"Wide":            {"[à-ü]", "é", true},
		"Dot":             {"a.c", "abc", false},
		"StarEmpty":       {"a*", "a", true},
		"StarBack":        {"*ab*ab", "abxabab", true},
		"StarNot":         {"*ab*ab", "abxaba", false},
		"Nothing":         {"", "", true},
		"Newline":         {"a*", "a\nb", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := match(tc.pattern, tc.name); got != tc.want {
				t.Errorf("match(%q, %q): want %t, got %t", tc.pattern, tc.name, tc.want, got)
			}
		})
	}
}

// translated is a pattern as a regular expression, in the way of Python's
// fnmatch.translate.
func translated(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for pattern != "" {
		c, width := utf8.DecodeRuneInString(pattern)
		set, closed := "", false
		if c == '[' {
			set, closed = cutSet(pattern)
		}
		switch {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteString(".")
		case closed:
			width = len(set) + 2
			b.WriteString(translatedSet(set))
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
		pattern = pattern[width:]
	}
	return regexp.MustCompile(b.String() + `\z`)
}

func translatedSet(set string) string {
	rest, inverted := strings.CutPrefix(set, "!")
	var b strings.Builder
	runes := []rune(rest)
	for i := 0; i < len(runes); i++ {
		switch {
		case i+2 < len(runes) && runes[i+1] == '-' && runes[i] <= runes[i+2]:
			b.WriteString(quoted(runes[i]) + "-" + quoted(runes[i+2]))
			i += 2
		case i+2 < len(runes) && runes[i+1] == '-':
			i += 2
		default:
			b.WriteString(quoted(runes[i]))
		}
	}
	switch {
	case b.Len() == 0 && inverted:
		return "."
	case b.Len() == 0:
		return `[^\x{0}-\x{10FFFF}]`
	case inverted:
		return "[^" + b.String() + "]"
	}
	return "[" + b.String() + "]"
}

func quoted(r rune) string {
	if r < utf8.RuneSelf {
		return `\x` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15])
	}
	return string(r)
}

// FuzzMatch holds patterns against regular expressions, and checks that what is
// valid can be matched with any path.
func FuzzMatch(f *testing.F) {
	f.Add("*.safetensors", "a/b.safetensors")
	f.Add("[!a-c]?*", "dé/x")
	f.Add("[]-a]*[z-a]", "]")
	f.Add("x[", "x[")
	f.Add("****a*b*c****", "aaaabbbbcccc")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) || strings.ContainsRune(pattern, utf8.RuneError) || strings.ContainsRune(name, utf8.RuneError) {
			return
		}
		if want, got := translated(pattern).MatchString(name), match(pattern, name); want != got {
			t.Errorf("match(%q, %q): want %t, got %t", pattern, name, want, got)
		}
		filter := Filter{Include: []string{pattern}, Exclude: []string{pattern}}
		if err := filter.Validate(); err != nil && outcome.ReasonOf(err) != outcome.Unsupported {
			t.Errorf("Validate(): want reason Unsupported, got %v", err)
		}
		if filter.Keep(name) {
			t.Errorf("%q is kept, though %q includes and excludes it", name, pattern)
		}
	})
}
