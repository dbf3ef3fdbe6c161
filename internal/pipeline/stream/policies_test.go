package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// settle writes the Hub's settings of the model.
func (w *streamWorld) settle(t *testing.T, s testhub.Settings) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "models", streamModel, "hub.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPolicies(t *testing.T) {
	const zip = "PK\x03\x04 as torch.save writes it"
	with := func(name, content string) map[string]string {
		files := streamFiles()
		files[name] = content
		return files
	}
	p := func(change func(*policy.Policy)) policy.Set {
		out := policy.Policy{Of: `ClusterProviderConfig "models"`}
		change(&out)
		return policy.Set{out}
	}
	noPickle := p(func(p *policy.Policy) { p.Files.Deny = []string{policy.FormatPickle} })
	requires := p(func(p *policy.Policy) { p.HubScan = policy.HubScanRequire })
	type want struct {
		reason  outcome.Reason // Empty if the artifact is staged.
		says    string
		fetched bool // Whether a file's bytes were read.
		scan    string
	}
	cases := map[string]struct {
		reason   string
		files    map[string]string
		settings testhub.Settings
		policies policy.Set
		want     want
	}{
		"Allowed": {
			reason: "A model that the policies allow should be staged.", files: streamFiles(),
			policies: p(func(p *policy.Policy) {
				p.Models.Allow, p.Licenses.Allow, p.Files.Allow, p.MaxSize = []string{"org/*"}, []string{"apache-2.0"}, []string{"safetensors", "onnx"}, 1<<30
			}),
			want: want{fetched: true},
		},
		"PickleByName":  {reason: "A pickle should be refused by its name, before a byte is moved.", files: with("old/model.pt", "x"), policies: noPickle, want: want{reason: outcome.PolicyViolation, says: "old/model.pt (pickle)"}},
		"PickleByBytes": {reason: "A pickle should be refused by its first bytes.", files: with("weights.bin", zip), policies: noPickle, want: want{reason: outcome.PolicyViolation, says: "weights.bin (pickle", fetched: true}},
		"LargePickle": {
			reason: "A pickle that is moved in one pass should be refused by its first bytes.", files: with("weights.bin", zip+strings.Repeat("x", 3<<20)), policies: noPickle,
			want: want{reason: outcome.PolicyViolation, says: "weights.bin (pickle", fetched: true},
		},
		"Licence":  {reason: "A licence that is denied should be refused, before a byte is moved.", files: streamFiles(), policies: p(func(p *policy.Policy) { p.Licenses.Deny = []string{"apache-2.0"} }), want: want{reason: outcome.PolicyViolation, says: "licence Apache-2.0"}},
		"TooLarge": {reason: "A model that is too large should be refused, before a byte is moved.", files: streamFiles(), policies: p(func(p *policy.Policy) { p.MaxSize = 1 << 20 }), want: want{reason: outcome.PolicyViolation, says: "at most 1048576 bytes"}},
		"Renamed": {
			reason: "The name that the Hub answers should be refused if it is denied.", files: streamFiles(), settings: testhub.Settings{RenamedTo: "denied/model"},
			policies: p(func(p *policy.Policy) { p.Models.Deny = []string{"denied/*"} }), want: want{reason: outcome.PolicyViolation, says: "denied/model"},
		},
		"Unsafe": {
			reason: "A file that the Hub's scan did not find safe should be refused, before a byte is moved.", files: streamFiles(), policies: requires,
			settings: testhub.Settings{Scan: &testhub.Scan{Done: true, Issues: []testhub.ScanIssue{{Path: "model.safetensors", Level: "unsafe"}}}},
			want:     want{reason: outcome.PolicyViolation, says: "model.safetensors (unsafe)"},
		},
		"Pending":  {reason: "A scan that is not finished should be waited for.", files: streamFiles(), policies: requires, settings: testhub.Settings{Scan: &testhub.Scan{}}, want: want{reason: outcome.Unavailable, says: "not finished"}},
		"NoScan":   {reason: "A model without a scan should be refused if one is required.", files: streamFiles(), policies: requires, want: want{reason: outcome.PolicyViolation, says: "there is none"}},
		"Clean":    {reason: "A clean scan should be reported.", files: streamFiles(), policies: requires, settings: testhub.Settings{Scan: &testhub.Scan{Done: true}}, want: want{fetched: true, scan: policy.VerdictClean}},
		"ScanWarn": {reason: "A scan that only warns should be reported.", files: streamFiles(), policies: p(func(p *policy.Policy) { p.HubScan = policy.HubScanWarn }), want: want{fetched: true, scan: policy.VerdictMissing}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, tc.files, nil)
			w.settle(t, tc.settings)
			w.run.Policies = tc.policies
			result, err := w.stream.Run(t.Context(), w.run)
			got := want{fetched: w.hub.Sent() > 0, scan: result.Scan}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			}
			if err == nil || strings.Contains(err.Error(), tc.want.says) {
				got.says = tc.want.says
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s\nerror: %v", tc.reason, diff, err)
			}
			if _, _, err := w.registry.Manifest(t.Context(), "models/model", stagingTag); (err == nil) != (tc.want.reason == "") {
				t.Errorf("\n%s\nstaged: %v", tc.reason, err)
			}
		})
	}
}

// TestPolicyOfWhatIsThere checks that a file is refused whose bytes are not moved, since
// the registry has them already.
func TestPolicyOfWhatIsThere(t *testing.T) {
	files := streamFiles()
	files["weights.bin"] = "PK\x03\x04" + strings.Repeat("x", 3<<20)
	w := newStreamWorld(t, files, nil)
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Fatal(err)
	}
	w.run.Target.StagingTag = "kitops-staging-fedcba9876543210"
	w.run.Policies = policy.Set{{Of: "c", Files: policy.Rules{Deny: []string{policy.FormatPickle}}}}
	if _, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.PolicyViolation || !strings.Contains(err.Error(), "weights.bin") {
		t.Errorf("Run(...): want a violation, got %v", err)
	}
	if _, _, err := w.registry.Manifest(t.Context(), "models/model", w.run.Target.StagingTag); err == nil {
		t.Error("A run that is refused should stage nothing.")
	}
}

// TestPolicyOfForgedHeads has a source announce a blob of the repository as a file of its
// own, of which it sends other first bytes. Those of the blob count.
func TestPolicyOfForgedHeads(t *testing.T) {
	pickle := "PK\x03\x04" + strings.Repeat("x", 3<<20)
	for _, format := range allFormats {
		t.Run(format, func(t *testing.T) {
			files := streamFiles()
			files["model.safetensors"] = pickle
			w := newStreamWorld(t, files, nil)
			w.run.Format = format
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatal(err)
			}
			d := w.from(files)
			sum := sha256.Sum256([]byte(pickle))
			d.Listed = func(f file.File) file.File {
				if f.Path == "model.safetensors" {
					f.SHA256 = hex.EncodeToString(sum[:])
				}
				return f
			}
			d.Reading = func(f file.File, _ int64, rc io.ReadCloser) (io.ReadCloser, error) {
				if f.Path != "model.safetensors" {
					return rc, nil
				}
				return io.NopCloser(io.MultiReader(strings.NewReader("\x10\x00\x00\x00\x00\x00\x00\x00{}              "), rc)), nil
			}
			w.run.Policies = policy.Set{{Of: "c", Files: policy.Rules{Deny: []string{policy.FormatPickle}}}}
			if got, err := w.stream.Run(t.Context(), w.run); err == nil {
				t.Errorf("Run(...): a pickle should not be staged as other bytes say, got %+v", got)
			}
		})
	}
}

// TestPolicyOfArtifacts checks the policies for artifacts of a registry, whether they are
// copied as they are or packed again.
func TestPolicyOfArtifacts(t *testing.T) {
	formats := []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage}
	for _, from := range formats {
		for _, to := range formats {
			t.Run(from+"To"+to, func(t *testing.T) {
				files := streamFiles()
				files["weights.bin"] = "PK\x03\x04" + strings.Repeat("x", 100)
				w := newStreamWorld(t, files, nil)
				w.run.Format = from
				if _, err := w.stream.Run(t.Context(), w.run); err != nil {
					t.Fatal(err)
				}
				w.run.Source = pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: w.run.Target.Registry + "/models/model:" + stagingTag, PlainHTTP: true}}
				w.run.Target.Repository, w.run.Format = "models/copy", to
				refused := func(p policy.Policy, says string) {
					t.Helper()
					w.run.Policies = policy.Set{p}
					_, err := w.stream.Run(t.Context(), w.run)
					if outcome.ReasonOf(err) != outcome.PolicyViolation || !strings.Contains(err.Error(), says) {
						t.Errorf("Run(...): want a violation that says %q, got %v", says, err)
					}
					if _, _, err := w.registry.Manifest(t.Context(), "models/copy", stagingTag); err == nil {
						t.Error("A run that is refused should stage nothing.")
					}
				}
				refused(policy.Policy{Of: "c", Files: policy.Rules{Deny: []string{policy.FormatPickle}}}, "weights.bin (pickle")
				refused(policy.Policy{Of: "c", Files: policy.Rules{Allow: []string{policy.FormatSafetensors, policy.FormatPickle}}}, "onnx/model.onnx (onnx)")
				refused(policy.Policy{Of: "c", MaxSize: 1000}, "at most 1000 bytes")
				refused(policy.Policy{Of: "c", HubScan: policy.HubScanRequire}, "there is none")
				refused(policy.Policy{Of: "c", Licenses: policy.Rules{Deny: []string{"Apache-2.0"}}}, "Apache-2.0")
				refused(policy.Policy{Of: "c", Models: policy.Rules{Deny: []string{"org/*"}}}, "org/model")
				w.run.Policies = policy.Set{{Of: "c", Files: policy.Rules{Deny: []string{policy.FormatCode}}}}
				if _, err := w.stream.Run(t.Context(), w.run); err != nil {
					t.Errorf("An artifact that the policies allow should be staged.\nRun(...): %v", err)
				}
			})
		}
	}
}

// TestPolicyOfLyingSource has a registry send other first bytes of files when only these are
// asked for than it sends with all others, which have the announced digest.
func TestPolicyOfLyingSource(t *testing.T) {
	const header = "\x10\x00\x00\x00\x00\x00\x00\x00{}              "
	lies := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.Header.Get("Range") != fmt.Sprintf("bytes=0-%d", policy.HeadBytes-1) {
				next.ServeHTTP(rw, r)
				return
			}
			rw.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", policy.HeadBytes-1, 3<<20+4))
			rw.Header().Set("Content-Length", strconv.Itoa(policy.HeadBytes))
			rw.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(rw, header+strings.Repeat("\x00", policy.HeadBytes-len(header)))
		})
	}
	for _, from := range allFormats {
		for _, to := range allFormats {
			t.Run(from+"To"+to, func(t *testing.T) {
				files := streamFiles()
				files["model.safetensors"] = "PK\x03\x04" + strings.Repeat("x", 3<<20)
				w, _, _ := newOCIWorldOf(t, files, from, testregistry.Start(t, testregistry.Options{}), testregistry.Start(t, testregistry.Options{}))
				w.run.Format = to
				w.source.SetFault(lies)
				w.run.Policies = policy.Set{{Of: "c", Files: policy.Rules{Deny: []string{policy.FormatPickle}}}}
				if got, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.PolicyViolation {
					t.Errorf("Run(...): want a violation, got %+v and %v", got, err)
				}
				if _, _, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, w.run.Target.StagingTag); err == nil {
					t.Error("A run that is refused should stage nothing.")
				}
			})
		}
	}
}

// TestPolicyOfDeclaredLicense checks that a licence is not more than declared once files were
// packed with it, unless somebody who is trusted has signed that.
func TestPolicyOfDeclaredLicense(t *testing.T) {
	w, _, made := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
	rules := policy.Policy{Of: "c", Licenses: policy.Rules{Allow: []string{"Apache-2.0"}}}
	w.run.Policies = policy.Set{rules}
	if _, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.PolicyViolation || !strings.Contains(err.Error(), "only declared") {
		t.Errorf("Run(...): want the licence of an artifact that is not verified to be refused, got %v", err)
	}
	counts := rules
	counts.DeclaredLicenses = true
	w.run.Policies = policy.Set{counts}
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Errorf("Run(...): want a policy to count it that says so, got %v", err)
	}
	signer := testregistry.NewSigner(t)
	subject := w.descriptor(t, made)
	testregistry.PushReferrer(t, w.client(t, w.source), w.from.Target.Repository, subject, testregistry.BundleType, signer.Bundle(testregistry.SignType, subject.Digest))
	w.run.Source.Artifact.Verify = &verify.Options{Keys: signer.PublicKey(), Field: "source.oci.verify"}
	w.run.Policies = policy.Set{rules}
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Errorf("Run(...): want the licence that a signer vouches for to count, got %v", err)
	}
}
