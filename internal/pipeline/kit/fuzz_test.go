package kit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// fuzzSecret is the secret of fuzzed runs. Where an output holds secretMark,
// kit repeats the secret there.
const (
	fuzzSecret = "hf_FuzzedTokenThatNobodyMaySee0123456789"
	secretMark = "SECRET"
)

// FuzzKitVersion checks what is taken for a version of kit.
func FuzzKitVersion(f *testing.F) {
	f.Add("Version: 1.16.0\nCommit: abc\nBuilt: x\nGo version: go1.26")
	f.Add("Version: v1.9.0-rc1")
	f.Add("Version: unknown")
	f.Add("Version: 999999.999999.9999999")
	f.Fuzz(func(t *testing.T, output string) {
		v, ok := parseRelease(strings.Split(output, "\n"))
		for _, n := range v {
			if n < 0 || n > 999_999 || !ok && n != 0 {
				t.Errorf("parseKitVersion(%q) = %v, %t", output, v, ok)
			}
		}
		if ok && !strings.Contains(output, "Version: ") {
			t.Errorf("parseKitVersion(%q) = %v", output, v)
		}
	})
}

// FuzzKitFailed checks that whatever kit says before it fails becomes an error
// with a reason that fits a condition and shows no secret.
func FuzzKitFailed(f *testing.F) {
	f.Add("import", "[ERROR] received status code 401 when downloading file SECRET")
	f.Add("push", "Error: response status code 403: denied: SECRET")
	f.Add("push", "unexpected response code from remote registry: 502 Bad Gateway")
	f.Add("import", "panic: runtime error SECRET\n\ngoroutine 1 [running]:\nmain.main()")
	f.Add("import", "[ERROR] path onnx/SECRET.onnx does not exist")
	f.Add("pack", "unknown flag: --layer-format=SECRET")
	f.Add("unpack", "write /workspace/a: no space left on device")
	f.Add("import", `Get "https://cdn.example.com/a?X-Amz-Signature=SECRET": EOF`)
	f.Add("import", "\xff\r\x1b[31mSECRET")
	token := filepath.Join(f.TempDir(), "hub-token")
	if err := os.WriteFile(token, []byte(fuzzSecret), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, step, output string) {
		log := &bytes.Buffer{}
		run := pipeline.Run{Source: pipeline.Source{Model: "o/m", TokenFile: token}, Target: pipeline.Target{Registry: "r.example.com", Repository: "o/m", StagingTag: stagingTag}, Log: log}
		secrets, err := pipeline.Secrets(run)
		if err != nil {
			t.Fatal(err)
		}
		r := &task{kit: New(), run: run, log: newRunLog(log, secrets)}
		lines := &outputLines{log: r.log}
		_, _ = lines.Write([]byte(strings.ReplaceAll(output, secretMark, fuzzSecret)))
		lines.end()

		result := outcome.Failed(r.failed(step, lines.last))
		if strings.Contains(result.Failure.Message, fuzzSecret) || strings.Contains(log.String(), fuzzSecret) {
			t.Errorf("kit %s said %q: the secret is in %q or in the log:\n%s", step, output, result.Failure.Message, log)
		}
		if strings.ContainsAny(result.Failure.Message, "\n\r\x1b") {
			t.Errorf("the message is not one line: %q", result.Failure.Message)
		}
		_, known := outcome.Parse(encoded(t, result))
		if !known {
			t.Errorf("the result is none: %+v", result.Failure)
		}
	})
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzKitLines checks that no secret gets into the log, in whatever pieces the
// output with it comes.
func FuzzKitLines(f *testing.F) {
	f.Add("a SECRET b\nSECRET\n", uint16(5))
	f.Add("https://cdn.example.com/x?sig=SECRET\r\n", uint16(1))
	f.Add("SECRETSECRET", uint16(3))
	f.Add(strings.Repeat("x", maxLine-20)+"SECRET", uint16(100))
	f.Fuzz(func(t *testing.T, output string, size uint16) {
		log := &bytes.Buffer{}
		lines := &outputLines{log: newRunLog(log, []string{fuzzSecret})}
		output = strings.ReplaceAll(output, secretMark, fuzzSecret)
		for piece := range slices.Chunk([]byte(output), int(size)+1) {
			if n, err := lines.Write(piece); n != len(piece) || err != nil {
				t.Errorf("Write(...) = %d, %v", n, err)
			}
		}
		lines.end()
		if strings.Contains(log.String(), fuzzSecret[:12]) || strings.Contains(strings.Join(lines.last, ""), fuzzSecret[:12]) {
			t.Errorf("the secret is in the log:\n%s", log)
		}
		if len(lines.last) > maxLines {
			t.Errorf("%d lines were kept", len(lines.last))
		}
	})
}

// FuzzKitfile checks that a Kitfile names each file of a model once, whatever
// it is called.
func FuzzKitfile(f *testing.F) {
	f.Add("o/m", "mit", "model.onnx", "README.md")
	f.Add("o/m", "", "null", "~")
	f.Add("o/m", "a: b", "- x", "'\"\\\t")
	f.Add("o/2026-01-01", "0x10", "yes.bin", "1e3.json")
	f.Fuzz(func(t *testing.T, model, license, one, two string) {
		files, err := packable([]file.File{{Path: one, Size: 1}, {Path: two, Size: 2}})
		if err != nil || !isText(model+license+one+two) {
			return
		}
		name := filepath.Join(t.TempDir(), "Kitfile")
		if err := writeKitfile(newKitfile("", model, license, files), name); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var k modelpack.Kitfile
		if err := yaml.UnmarshalStrict(b, &k); err != nil {
			t.Fatalf("the Kitfile cannot be read: %v\n%s", err, b)
		}
		entries := slices.Concat(k.Code, k.DataSets, k.Docs)
		if k.Model != nil {
			entries = append(append(entries, modelpack.KitEntry{Path: k.Model.Path}), k.Model.Parts...)
		}
		got, want := []string{}, []string{}
		for _, e := range entries {
			got = append(got, e.Path)
		}
		for _, file := range files {
			want = append(want, file.Path)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" && one != two {
			t.Errorf("files: -model, +Kitfile:\n%s", diff)
		}
	})
}

// isText reports whether s is what the Hub's client lets through: UTF-8 without
// control characters.
func isText(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f })
}

// FuzzKitStorage checks that what kit's storage says is either read or refused
// with an error, and never leads out of the storage.
func FuzzKitStorage(f *testing.F) {
	manifest := `{"schemaVersion":2,"config":{"digest":"sha256:00","size":2},"layers":[{"mediaType":"application/vnd.kitops.modelkit.model.v1.tar","digest":"` +
		digest.FromString("x").String() + `","size":1}]}`
	f.Add([]byte(`{"`+stagingTag+`":{"digest":"DIGEST","size":1}}`), []byte(manifest))
	f.Add([]byte(`{"`+stagingTag+`":{"digest":"sha256:../../x"}}`), []byte("{}"))
	f.Add([]byte(`{"`+stagingTag+`":{"digest":"DIGEST"}}`), []byte(`{"layers":[{"digest":"sha256:../x"}]}`))
	f.Add([]byte(`{"`+stagingTag+`":null}`), []byte("null"))
	f.Add([]byte(`[]`), []byte("["))
	f.Fuzz(func(t *testing.T, tags, manifest []byte) {
		storage, target := t.TempDir(), pipeline.Target{Registry: "r.example.com", Repository: "o/m", StagingTag: stagingTag}
		d := digest.FromBytes(manifest)
		tags = bytes.ReplaceAll(tags, []byte("DIGEST"), []byte(d))
		name := base64.URLEncoding.EncodeToString([]byte(target.Registry+"/"+target.Repository)) + "-tags.json"
		write(t, filepath.Join(storage, name), tags)
		write(t, filepath.Join(storage, "blobs", "sha256", d.Encoded()), manifest)
		a, err := readArtifact(storage, target)
		if err != nil {
			return
		}
		for _, l := range a.layers {
			if blob := a.blob(l.Digest); !strings.HasPrefix(blob, filepath.Join(storage, "blobs")+"/") {
				t.Errorf("the layer %q is looked for at %s", l.Digest, blob)
			}
		}
	})
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzKitLayer checks that a layer, whatever is in it, is either walked to its
// end or refused, and that what is not on the Hub is told.
func FuzzKitLayer(f *testing.F) {
	tarred := testLayer{mediaType: "x.v1.tar", names: []string{"a.bin", "d/", "d/b.bin"}, content: "content"}
	zipped := testLayer{mediaType: "x.v1.tar+gzip", names: []string{"../a.bin"}, content: "content"}
	f.Add(".tar", "", tarred.bytes(&testing.T{}))
	f.Add(".tar+gzip", "", zipped.bytes(&testing.T{}))
	f.Add(".raw", "a.bin", []byte("content"))
	f.Add(".raw", "../../a.bin", []byte("content"))
	f.Add(".zstd", "", []byte{})
	f.Fuzz(func(t *testing.T, format, path string, content []byte) {
		storage := t.TempDir()
		d := digest.FromBytes(content)
		write(t, filepath.Join(storage, "blobs", "sha256", d.Encoded()), content)
		a := &artifact{storage: storage, layers: []ocispec.Descriptor{{
			MediaType: "x.v1" + format, Digest: d, Size: int64(len(content)),
			Annotations: map[string]string{modelspec.AnnotationFilepath: path},
		}}}
		c := newCheck([]file.File{{Path: "a.bin", Size: 7, SHA256: digest.FromString("content").Encoded()}})
		if err := a.walk(t.Context(), c.visit); err != nil {
			return
		}
		if c.verdict() == nil && !c.seen["a.bin"] {
			t.Errorf("a layer of type %q without the model's file is taken for whole", format)
		}
	})
}
