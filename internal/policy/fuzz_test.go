package policy

import (
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzFormats checks that every file has a format that policies know, and that a
// pickle or a zip archive never passes a policy against pickles unless its name is of
// another format that is a zip archive, or it is a safetensors file.
func FuzzFormats(f *testing.F) {
	for _, seed := range []struct{ path, head string }{
		{"model.safetensors", "\x80\x04\x00\x00\x00\x00\x00\x00{"},
		{"a.bin", "PK\x03\x04"},
		{"a.npy", "\x93NUMPY\x01\x00v\x00{'descr': '|O'"},
		{"config.json", "{}"},
		{"..", ""},
	} {
		f.Add(seed.path, []byte(seed.head), int64(1<<20))
	}
	known := []string{
		FormatData, FormatSafetensors, FormatGGUF, FormatPickle, FormatGGML, FormatNumPy, FormatONNX, FormatKeras,
		FormatTensorFlow, FormatFlax, FormatCode, FormatArchive, FormatOther,
	}
	noPickle := Set{{Of: "c", Files: Rules{Deny: []string{FormatPickle}}}}
	f.Fuzz(func(t *testing.T, path string, head []byte, size int64) {
		file := File{Path: path, Size: size}
		formats := FormatsOf(file, head)
		for _, one := range formats {
			if !slices.Contains(known, one) {
				t.Fatalf("FormatsOf(%q, %q): unknown format %q", path, head, one)
			}
		}
		name, _ := FormatByName(path)
		if isPickle(head) && name != FormatSafetensors && noPickle.CheckContent(file, head) == nil {
			t.Errorf("a pickle passes as %q: %q", path, head)
		}
		if err := noPickle.CheckContent(file, head); err != nil && !utf8.ValidString(err.Error()) {
			t.Errorf("the message is no text: %q", err)
		}
	})
}

// FuzzDecode checks that decoding foreign bytes returns what can be encoded again.
func FuzzDecode(f *testing.F) {
	f.Add(`[{"of":"ClusterProviderConfig \"a\"","models":{"allow":["a/*"]},"hubScan":"Warn","maxSize":1}]`)
	f.Add("[]")
	f.Add("null")
	f.Fuzz(func(t *testing.T, s string) {
		set, err := Decode(s)
		if err != nil {
			return
		}
		if _, err := set.Encode(); err != nil && len(s) < MaxBytes/8 {
			t.Errorf("Decode(%q): cannot be encoded: %v", s, err)
		}
	})
}

// FuzzMatches checks that a pattern without a star matches itself alone, and that one
// with a star at its end matches what begins with it.
func FuzzMatches(f *testing.F) {
	f.Add("meta-llama/", "meta-llama/L")
	f.Add("a*b*c", "abc")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		matches(pattern, name)
		if !matches("*", name) || !matches(name[:len(name)/2]+"*", name) && !slices.Contains([]byte(name[:len(name)/2]), '*') {
			t.Errorf("%q does not match what begins with it", name)
		}
	})
}
