package pull

import (
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
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// signFiles pushes the signature of an artifact's files, and returns who verifies it.
func (f *front) signFiles(t *testing.T, d digest.Digest, files map[string]string) *attest.Verifier {
	t.Helper()
	private, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	var l filelist.List
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[name]))
		l.Files = append(l.Files, filelist.File{Path: name, Size: int64(len(files[name])), SHA256: hex.EncodeToString(sum[:])})
	}
	b, err := attest.SignModel(t.Context(), key, l, "model")
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.New(registry.Options{Host: f.host(), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	subject, err := c.Resolve(t.Context(), testRepository, d.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PushReferrer(t.Context(), testRepository, subject, registry.Referrer{Type: attest.ModelSignatureType, Title: attest.SignatureFile, Content: b}); err != nil {
		t.Fatal(err)
	}
	v, err := attest.NewVerifier(key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sumsIn returns the SHA-256 of the files that model_signing looks at in a folder, with
// these paths ignored, and of all of them together.
func sumsIn(t *testing.T, dir string, ignored []string) (map[string]string, digest.Digest) {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if root, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); e.IsDir() || slices.Contains(ignored, root) {
			return nil
		}
		b, err := os.ReadFile(name)
		sum := sha256.Sum256(b)
		sums[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	root := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		b, _ := hex.DecodeString(sums[name])
		_, _ = root.Write(b)
	}
	return sums, digest.NewDigest(digest.SHA256, root)
}

// TestWithSignature checks that the signature that a pull leaves beside the files covers
// exactly what is in the folder.
func TestWithSignature(t *testing.T) {
	f := newFront(t, open, false)
	files := modelFiles()
	files["only.txt"] = "of this test"
	d := f.push(t, modelPack, rawLayers(files)...)
	dir := filepath.Join(t.TempDir(), "model")
	p, log := f.pulling(dir, d)
	p.options.WithSignature = true
	if _, err := p.Run(t.Context()); outcome.ReasonOf(err) != outcome.NotFound || !strings.Contains(err.Error(), "--with-signature") {
		t.Errorf("Run(...): want an artifact without a signature to be an error, got %v\n%s", err, log)
	}

	v := f.signFiles(t, d, files)
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatalf("Run(...): want the signature of files that are here already, got %v\n%s", err, log)
	}
	bundle, err := os.ReadFile(filepath.Join(dir, attest.SignatureFile))
	if err != nil {
		t.Fatal(err)
	}
	var signed struct {
		Predicate struct {
			Serialization struct {
				Ignored []string `json:"ignore_paths"`
			} `json:"serialization"`
			Resources []struct{ Name, Digest string } `json:"resources"`
		} `json:"predicate"`
	}
	sums, root := sumsIn(t, dir, []string{".git", ".gitattributes", ".github", ".gitignore", attest.SignatureFile, "Kitfile", stateDir})
	statement, _, err := v.Open(bundle, root)
	if err != nil {
		t.Fatalf("Open(...): want the signature to be one of the folder's files, got %v", err)
	}
	if err := json.Unmarshal(statement, &signed); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{stateDir, attest.SignatureFile} {
		if !slices.Contains(signed.Predicate.Serialization.Ignored, name) {
			t.Errorf("want the signature to ignore %q, got %v", name, signed.Predicate.Serialization.Ignored)
		}
	}
	got := map[string]string{}
	for _, r := range signed.Predicate.Resources {
		got[r.Name] = r.Digest
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Errorf("want the signature to cover the files of the folder: -folder, +signature:\n%s", diff)
	}
}
