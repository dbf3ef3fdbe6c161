package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

// modelFiles are the files of a small model.
var modelFiles = map[string]string{
	"config.json": "{}", "model.safetensors": "weights", "sub/x": "1", "sub-2": "2", "sub/.gitattributes": "3", ".gitattributes": "4", ".github/a.yaml": "5",
}

func listOf(files map[string]string) filelist.List {
	var l filelist.List
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[path]))
		l.Files = append(l.Files, filelist.File{Path: path, Size: int64(len(files[path])), SHA256: hex.EncodeToString(sum[:])})
	}
	return l
}

func TestModelStatement(t *testing.T) {
	b, err := modelStatement(listOf(modelFiles), "qwen3")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "model.json", b)
}

func TestSignModelRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		list   filelist.List
		want   string
	}{
		"Nothing": {reason: "A model without files should not be signed (section 6.1).", want: "there is no file"},
		"Ignored": {reason: "So should not one all of whose files are ignored.", list: listOf(map[string]string{"Kitfile": "", ".git/config": ""}), want: "there is no file"},
		"Digest":  {reason: "A file without a digest should be named.", list: filelist.List{Files: []filelist.File{{Path: "a\nb", SHA256: "00"}}}, want: `file "a\nb" has no SHA-256 digest`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := SignModel(t.Context(), testKey(t, 1), tc.list, "m")
			if err == nil || !strings.Contains(err.Error(), tc.want) || b != nil {
				t.Errorf("\n%s\nSignModel(...): want an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestSignModelVerifies checks signatures of folders by what the specification asks of a
// verifier.
func TestSignModelVerifies(t *testing.T) {
	k := testKey(t, 1)
	bundle, err := SignModel(t.Context(), k, listOf(modelFiles), "qwen3")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		change func(t *testing.T, dir string)
		key    *Key
		want   string // Part of the error; empty for none.
	}{
		"Intact": {reason: "The folder that was signed should verify."},
		"Around": {reason: "What tools leave beside the files should not matter.", change: func(t *testing.T, dir string) {
			write(t, dir, map[string]string{".git/config": "", ".provider-kitops/state": "", "Kitfile": "", ".gitignore": "", ".github/b": ""})
		}},
		"WithoutIgnored": {reason: "What is ignored may be missing.", change: func(t *testing.T, dir string) { remove(t, dir, ".gitattributes") }},
		"Extra":          {reason: "A file that was not signed should be found.", change: func(t *testing.T, dir string) { write(t, dir, map[string]string{"run.py": ""}) }, want: "extra file run.py"},
		"SubFolder":      {reason: "Only at the root is a name ignored.", change: func(t *testing.T, dir string) { write(t, dir, map[string]string{"sub/.gitignore": ""}) }, want: "extra file sub/.gitignore"},
		"SubAltered":     {reason: "In a folder a file of such a name is a file of the model.", change: func(t *testing.T, dir string) { write(t, dir, map[string]string{"sub/.gitattributes": "x"}) }, want: "sub/.gitattributes was altered"},
		"Missing":        {reason: "A missing file should be found.", change: func(t *testing.T, dir string) { remove(t, dir, "sub/x") }, want: "missing file sub/x"},
		"Altered":        {reason: "An altered file should be found.", change: func(t *testing.T, dir string) { write(t, dir, map[string]string{"model.safetensors": "Weights"}) }, want: "model.safetensors was altered"},
		"Symlink": {reason: "A link should be refused.", change: func(t *testing.T, dir string) {
			if err := os.Symlink("config.json", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
		}, want: "link is a symbolic link"},
		"OtherKey": {reason: "Another key should not verify.", key: testKey(t, 2), want: "key mismatch"},
		"Signature": {reason: "An altered signature should not verify.", change: func(t *testing.T, dir string) {
			write(t, dir, map[string]string{SignatureFile: strings.Replace(string(bundle), `"sig":"M`, `"sig":"N`, 1)})
		}, want: "altered"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, modelFiles)
			write(t, dir, map[string]string{SignatureFile: string(bundle)})
			if tc.change != nil {
				tc.change(t, dir)
			}
			if tc.key == nil {
				tc.key = k
			}
			err := verifyFolder(dir, tc.key.PublicPEM())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nverifyFolder(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
		t.Fatal(err)
	}
}

// verifyFolder verifies a folder by OpenSSF Model Signing v1.0, section 8, with a key as
// model_signing does.
func verifyFolder(dir string, public []byte) error {
	bundle, err := os.ReadFile(filepath.Join(dir, SignatureFile))
	if err != nil {
		return err
	}
	m, err := checkModelBundle(bundle)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(public)
	if b, err := decodeBundle(bundle); err != nil || b.VerificationMaterial.PublicKey.Hint != hex.EncodeToString(sum[:]) {
		return errors.Errorf("key mismatch: %v", err)
	}
	v, err := NewVerifier(public)
	if err != nil {
		return err
	}
	if _, _, err := v.OpenPayload(bundle); err != nil {
		return err
	}
	if !slices.IsSortedFunc(m.Resources, func(a, b modelResource) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }) {
		return errors.New("resources are not sorted by code point")
	}
	want := map[string]string{}
	for _, r := range m.Resources {
		want[r.Name] = r.Digest
	}
	ignored := append([]string{".git", ".gitignore", ".gitattributes", ".github"}, m.Serialization.IgnorePaths...)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		name = filepath.ToSlash(name)
		if slices.Contains(ignored, name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return errors.Errorf("%s is a symbolic link", name)
		}
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		switch digest, signed := want[name]; {
		case !signed:
			return errors.Errorf("extra file %s", name)
		case digest != hex.EncodeToString(sum[:]):
			return errors.Errorf("%s was altered", name)
		}
		delete(want, name)
		return nil
	})
	for name := range want {
		return errors.Errorf("missing file %s (%v)", name, err)
	}
	return err
}

// checkModelBundle returns the predicate of a bundle if it has the form that the schemas
// of OpenSSF Model Signing v1.0 describe, and the subject is the root of the resources.
func checkModelBundle(b []byte) (modelPredicate, error) {
	var bundle bundle
	if err := strictJSON(b, &bundle); err != nil {
		return modelPredicate{}, err
	}
	material := bundle.VerificationMaterial
	switch {
	case !strings.HasPrefix(bundle.MediaType, "application/vnd.dev.sigstore.bundle"):
		return modelPredicate{}, errors.New("no bundle")
	case bundle.Envelope == nil || len(bundle.Envelope.Signatures) == 0:
		return modelPredicate{}, errors.New("no envelope")
	case material.PublicKey == nil && material.Chain == nil && (material.Certificate == nil || material.Log == nil):
		return modelPredicate{}, errors.New("no verification material")
	}
	s, err := decodeStatement(bundle.Envelope.Payload)
	if err != nil {
		return modelPredicate{}, err
	}
	if s.PredicateType != ModelSigningType {
		return modelPredicate{}, errors.New("another predicate type")
	}
	var m modelPredicate
	if err := strictJSON(s.Predicate, &m); err != nil {
		return modelPredicate{}, err
	}
	root := sha256.New()
	for _, r := range m.Resources {
		sum, err := hex.DecodeString(r.Digest)
		if err != nil || r.Algorithm != "sha256" || r.Name == "" {
			return modelPredicate{}, errors.Errorf("no resource: %v, %v", r, err)
		}
		root.Write(sum)
	}
	if got := hex.EncodeToString(root.Sum(nil)); got != s.Subject[0].Digest["sha256"] || s.Subject[0].Name == "" {
		return modelPredicate{}, errors.Errorf("the root of the resources is %s", got)
	}
	if m.Serialization.Method != "files" || m.Serialization.HashType != "sha256" || m.Serialization.AllowSymlinks {
		return modelPredicate{}, errors.New("another serialization")
	}
	return m, nil
}

// TestModelSigningVectors checks that what verifies signatures in these tests accepts the
// specification's valid vectors and refuses the invalid ones, so that it is worth
// something that it accepts our own.
func TestModelSigningVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/oms-v1.0/*/*.bundle.json")
	if err != nil || len(files) != 8 {
		t.Fatalf("want 8 vectors, got %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			valid := filepath.Base(filepath.Dir(file)) == "valid"
			if _, err := checkModelBundle(b); (err == nil) != valid {
				t.Errorf("%s: want it to be valid: %t, got %v", file, valid, err)
			}
		})
	}
}

// TestModelSigningForm checks that a signed bundle has the same members as the
// specification's vector of a key.
func TestModelSigningForm(t *testing.T) {
	vector, err := os.ReadFile("testdata/oms-v1.0/valid/key.bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := SignModel(t.Context(), testKey(t, 1), listOf(modelFiles), "qwen3")
	if err != nil {
		t.Fatal(err)
	}
	// Both are optional: entries of a log with a key (section 4.1), and a key's ID.
	drop := []string{"tlogEntries", "keyid"}
	if diff := cmp.Diff(members(t, vector, drop), members(t, b, drop)); diff != "" {
		t.Errorf("bundle: -vector, +got:\n%s", diff)
	}
	payload := func(b []byte) []byte {
		decoded, err := decodeBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		return decoded.Envelope.Payload
	}
	if diff := cmp.Diff(members(t, payload(vector), nil), members(t, payload(b), nil)); diff != "" {
		t.Errorf("statement: -vector, +got:\n%s", diff)
	}
}

// members returns the sorted paths of a document's members.
func members(t *testing.T, b []byte, drop []string) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, below := range v {
				if !slices.Contains(drop, key) {
					all[at+"."+key] = true
					walk(at+"."+key, below)
				}
			}
		case []any:
			for _, below := range v {
				walk(at+"[]", below)
			}
		}
	}
	walk("", v)
	return slices.Sorted(maps.Keys(all))
}
