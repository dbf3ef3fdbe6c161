package filelist

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
	gitA = strings.Repeat("a", 40)
)

func TestEncode(t *testing.T) {
	a := File{Path: "a/model.safetensors", Size: 5, SHA256: sumA, Format: "safetensors"}
	b := File{Path: "b.json", Size: 0, SHA256: sumB}
	cases := map[string]struct {
		reason string
		list   List
		want   string
		fails  bool
	}{
		"Empty":  {reason: "A list without files should be encoded as one.", want: `{"files":[],"model":{}}`},
		"Sorted": {reason: "Files should be sorted by path, whatever order they are given in.", list: List{Files: []File{b, a}}, want: `{"files":[{"path":"a/model.safetensors","size":5,"sha256":"` + sumA + `","format":"safetensors"},{"path":"b.json","size":0,"sha256":"` + sumB + `"}],"model":{}}`},
		"Git":    {reason: "Git's name of a file should be in the list.", list: List{Files: []File{{Path: "c", SHA256: sumA, GitSHA1: gitA}}}, want: `{"files":[{"path":"c","size":0,"sha256":"` + sumA + `","gitSHA1":"` + gitA + `"}],"model":{}}`},
		"NotGit": {reason: "What is no git name should be refused.", list: List{Files: []File{{Path: "c", SHA256: sumA, GitSHA1: sumA}}}, fails: true},
		"Facts": {
			reason: "Facts should be encoded without those that are out of bounds.",
			list:   List{Model: Model{Task: "text-generation", Library: "two\nlines", LicenseName: strings.Repeat("x", 257), Parameters: -1, Datasets: []string{"a<b>", "\x00"}, BaseModels: []string{""}}},
			want:   `{"files":[],"model":{"task":"text-generation","datasets":["a<b>"]}}`,
		},
		"Twice":    {reason: "A path that is there twice should be refused.", list: List{Files: []File{a, a}}, fails: true},
		"Outside":  {reason: "A path that leaves the folder should be refused.", list: List{Files: []File{{Path: "../a", SHA256: sumA}}}, fails: true},
		"Absolute": {reason: "An absolute path should be refused.", list: List{Files: []File{{Path: "/a", SHA256: sumA}}}, fails: true},
		"Unclean":  {reason: "A path with a part that is not clean should be refused.", list: List{Files: []File{{Path: "a/./b", SHA256: sumA}}}, fails: true},
		"Folder":   {reason: "The folder itself should be refused.", list: List{Files: []File{{Path: ".", SHA256: sumA}}}, fails: true},
		"NoHash":   {reason: "A file without a hash should be refused.", list: List{Files: []File{{Path: "a"}}}, fails: true},
		"NoSize":   {reason: "A negative size should be refused.", list: List{Files: []File{{Path: "a", Size: -1, SHA256: sumA}}}, fails: true},
		"TooMany":  {reason: "More files than the bound should be refused.", list: List{Files: many(MaxFiles + 1)}, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.list.Encode()
			if (err != nil) != tc.fails {
				t.Fatalf("\n%s\nEncode(): want an error: %t, got %v", tc.reason, tc.fails, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("\n%s\nEncode(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	file := func(path string) string { return `{"path":"` + path + `","size":1,"sha256":"` + sumA + `"}` }
	cases := map[string]struct {
		reason   string
		document string
		want     List
		fails    bool
	}{
		"Known":    {reason: "What was encoded should be decoded.", document: `{"files":[` + file("a") + `],"model":{"task":"x"}}`, want: List{Files: []File{{Path: "a", Size: 1, SHA256: sumA}}, Model: Model{Task: "x"}}},
		"Later":    {reason: "A field that is not known should be ignored.", document: `{"files":[],"later":1}`, want: List{Files: []File{}}},
		"Unsorted": {reason: "Files in another order should be refused.", document: `{"files":[` + file("b") + `,` + file("a") + `]}`, fails: true},
		"Twice":    {reason: "A path that is there twice should be refused.", document: `{"files":[` + file("a") + `,` + file("a") + `]}`, fails: true},
		"Outside":  {reason: "A path that leaves the folder should be refused.", document: `{"files":[` + file("a/../../b") + `]}`, fails: true},
		"NUL":      {reason: "A path that no filesystem can hold should be refused.", document: `{"files":[` + file(`a\u0000`) + `]}`, fails: true},
		"Long":     {reason: "A path that is too long should be refused.", document: `{"files":[` + file(strings.Repeat("a", 1025)) + `]}`, fails: true},
		"Hash":     {reason: "A hash in capitals should be refused: it would be compared as text.", document: `{"files":[{"path":"a","size":1,"sha256":"` + strings.ToUpper(sumA) + `"}]}`, fails: true},
		"Git":      {reason: "A git name in capitals should be refused: it would be compared as text.", document: `{"files":[{"path":"a","size":1,"sha256":"` + sumA + `","gitSHA1":"` + strings.ToUpper(gitA) + `"}]}`, fails: true},
		"Large":    {reason: "A document that is too large should be refused.", document: strings.Repeat(" ", MaxBytes+1), fails: true},
		"TooMany":  {reason: "More objects than there may be files should be refused before they are decoded.", document: `{"files":[` + strings.Repeat("{},", MaxFiles+20) + `{}]}`, fails: true},
		"NoJSON":   {reason: "What is no JSON should be refused.", document: `{"files":`, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(tc.document))
			if (err != nil) != tc.fails {
				t.Fatalf("\n%s\nDecode(...): want an error: %t, got %v", tc.reason, tc.fails, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDecode(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestLargest encodes and decodes a list of the most files, with little memory.
func TestLargest(t *testing.T) {
	const most = 160 << 20 // Of all that is allocated, while far less is held at once.
	l := List{Files: many(MaxFiles)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	runtime.ReadMemStats(&after)
	if err != nil || len(got.Files) != MaxFiles {
		t.Errorf("Decode(...): want %d files, got %d, %v", MaxFiles, len(got.Files), err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("want %d MiB to be allocated at most, got %d", most>>20, got>>20)
	}
}

// TestLargeWithoutGitSHA1 checks that a list which is too large with git's names of its
// files is encoded without them.
func TestLargeWithoutGitSHA1(t *testing.T) {
	l := List{Files: many(MaxFiles)}
	for i := range l.Files {
		l.Files[i].Path += strings.Repeat("x", 155)
		l.Files[i].GitSHA1 = gitA
	}
	b, err := l.Encode()
	if err != nil || len(b) > MaxBytes {
		t.Fatalf("Encode(): want at most %d bytes, got %d, %v", MaxBytes, len(b), err)
	}
	got, err := Decode(b)
	if err != nil || len(got.Files) != MaxFiles || got.Files[0].GitSHA1 != "" || l.Files[0].GitSHA1 != gitA {
		t.Errorf("Decode(...): want %d files without git's names, got %d, %v", MaxFiles, len(got.Files), err)
	}
}

// many returns files.
func many(n int) []File {
	out := make([]File, 0, n)
	for i := range n {
		out = append(out, File{Path: fmt.Sprintf("data/train/sample-%09d.json", i), Size: 1000, SHA256: sumA, Format: "data"})
	}
	return out
}

// FuzzDecode checks that what is decoded is encoded to a list that is decoded to the
// same again, and that its paths stay inside the folder.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"files":[{"path":"a/b","size":1,"sha256":"` + sumA + `","format":"gguf"}],"model":{"task":"x","datasets":["y"],"parameters":3}}`))
	f.Add([]byte(`{"files":[{"path":"../b"}]}`))
	f.Add([]byte(`{"files":null,"model":{"scan":"\u2028"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			return
		}
		for _, file := range l.Files {
			if strings.HasPrefix(file.Path, "/") || strings.HasPrefix(file.Path, "../") || strings.Contains("/"+file.Path+"/", "/../") {
				t.Errorf("Decode(%q): %q leaves the folder", b, file.Path)
			}
		}
		once, err := l.Encode()
		if err != nil {
			t.Fatalf("Encode(): want what was decoded to be encoded, got %v", err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("Decode(%s): want what was encoded to be decoded, got %v", once, err)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("Encode(): want the same bytes for the same content, got %s and %s, %v", once, twice, err)
		}
	})
}
