package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// local are the flags without which cosign asks a public Sigstore, also for a key.
const local = "--insecure-ignore-tlog=true"

// TestVerify checks what cosign says of artifacts with the provider's provenance.
func TestVerify(t *testing.T) {
	needCosign(t)
	k, public := newKey(t)
	other, otherPublic := newKey(t)
	for kind, start := range registries {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, start(t))
			signed, bare, replayed, foreign := w.artifact(t, "signed"), w.artifact(t, "bare"), w.artifact(t, "replayed"), w.artifact(t, "foreign")
			bundle := w.provenance(t, k, signed.Digest)
			w.refer(t, signed, attest.BundleType, bundle)
			w.refer(t, replayed, attest.BundleType, bundle)
			w.refer(t, foreign, attest.BundleType, w.provenance(t, other, foreign.Digest))
			forged := w.artifact(t, "forged")
			w.refer(t, forged, attest.BundleType, forge(t, bundle, signed.Digest, forged.Digest))

			attestation := []string{"verify-attestation", "--type", "slsaprovenance1"}
			signature := []string{"verify"}
			cases := map[string]struct {
				reason string
				args   []string
				key    string
				digest digest.Digest
				fails  bool
			}{
				"Attestation":       {reason: "Provenance should verify.", args: attestation, key: public, digest: signed.Digest},
				"PredicateType":     {reason: "Provenance should verify by its predicate type.", args: []string{"verify-attestation", "--type", attest.ProvenanceType}, key: public, digest: signed.Digest},
				"Signature":         {reason: "Provenance should stand for a signature of the artifact.", args: signature, key: public, digest: signed.Digest},
				"OtherKey":          {reason: "Another key should not verify.", args: attestation, key: otherPublic, digest: signed.Digest, fails: true},
				"OtherKeySignature": {reason: "Another key should not verify a signature.", args: signature, key: otherPublic, digest: signed.Digest, fails: true},
				"Bare":              {reason: "An artifact without provenance should not verify.", args: attestation, key: public, digest: bare.Digest, fails: true},
				"Replayed":          {reason: "Provenance of another artifact should not verify.", args: attestation, key: public, digest: replayed.Digest, fails: true},
				"ReplayedSignature": {reason: "Nor should it stand for a signature.", args: signature, key: public, digest: replayed.Digest, fails: true},
				"Foreign":           {reason: "Provenance by another key should not verify.", args: attestation, key: public, digest: foreign.Digest, fails: true},
				"Forged":            {reason: "Altered provenance should not verify.", args: attestation, key: public, digest: forged.Digest, fails: true},
				"OlderPredicate":    {reason: "Provenance should not verify as another version of it.", args: []string{"verify-attestation", "--type", "slsaprovenance"}, key: public, digest: signed.Digest, fails: true},
				"OtherPredicate":    {reason: "Provenance should not verify as a bill of materials.", args: []string{"verify-attestation", "--type", "cyclonedx"}, key: public, digest: signed.Digest, fails: true},
			}
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					out, err := cosign(t, append(tc.args, "--key", tc.key, local, w.name(tc.digest))...)
					if (err != nil) != tc.fails {
						t.Errorf("\n%s\ncosign %v: want it to fail: %t, got %v:\n%s", tc.reason, tc.args, tc.fails, err, out)
					}
				})
			}
			t.Run("Statement", func(t *testing.T) {
				out, err := cosign(t, append(attestation, "--key", public, local, w.name(signed.Digest))...)
				if err != nil {
					t.Fatal(err)
				}
				var got struct {
					Payload []byte `json:"payload"`
				}
				if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatalf("%v:\n%s", err, out)
				}
				p, err := attest.ReadProvenance(got.Payload)
				if err != nil || p.Repository != w.host+"/"+repository || p.Owner.Name != "qwen3" {
					t.Errorf("Whoever verifies should be able to compare the repository and the owner.\nReadProvenance(...): got %+v, %v", p, err)
				}
			})
		})
	}
}

// forge returns a bundle whose statement is about another digest.
func forge(t *testing.T, bundle []byte, from, to digest.Digest) []byte {
	t.Helper()
	var m struct {
		MediaType string          `json:"mediaType"`
		Material  json.RawMessage `json:"verificationMaterial"`
		Envelope  struct {
			Payload     []byte          `json:"payload"`
			PayloadType string          `json:"payloadType"`
			Signatures  json.RawMessage `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(bundle, &m); err != nil {
		t.Fatal(err)
	}
	m.Envelope.Payload = bytes.ReplaceAll(m.Envelope.Payload, []byte(from.Encoded()), []byte(to.Encoded()))
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestVerifyLegacy checks what cosign says of artifacts with signatures and attestations
// under legacy tags, beside referrers of types that are not cosign's.
func TestVerifyLegacy(t *testing.T) {
	needCosign(t)
	k, public := newKey(t)
	other, otherPublic := newKey(t)
	for kind, start := range registries {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, start(t))
			signed, moved := w.artifact(t, "signed"), w.artifact(t, "moved")
			bundle := w.provenance(t, k, signed.Digest)
			signature, err := k.LegacySignature(w.host+"/"+repository, signed.Digest)
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := other.LegacySignature(w.host+"/"+repository, signed.Digest)
			if err != nil {
				t.Fatal(err)
			}
			attestation, err := attest.LegacyAttestation(bundle)
			if err != nil {
				t.Fatal(err)
			}
			w.legacy(t, signed.Digest, attest.LegacySignatureSuffix, foreign, signature)
			w.legacy(t, signed.Digest, attest.LegacyAttestationSuffix, attestation)
			w.legacy(t, moved.Digest, attest.LegacySignatureSuffix, signature)
			w.legacy(t, moved.Digest, attest.LegacyAttestationSuffix, attestation)
			model, err := attest.SignModel(t.Context(), k, filelist.List{Files: []filelist.File{{Path: "a", SHA256: signed.Digest.Encoded()}}}, "qwen3")
			if err != nil {
				t.Fatal(err)
			}
			w.refer(t, signed, attest.ModelSignatureType, model)
			w.refer(t, signed, attest.OwnershipType, bundle)
			w.refer(t, signed, attest.BOMType, []byte("{}"))

			verify, verifyAttestation := []string{"verify"}, []string{"verify-attestation", "--type", "slsaprovenance1"}
			cases := map[string]struct {
				reason string
				args   []string
				key    string
				digest digest.Digest
				fails  bool
			}{
				"Signature":        {reason: "A signature under a legacy tag should verify beside referrers of our own types.", args: verify, key: public, digest: signed.Digest},
				"Second":           {reason: "So should the one of another signer under the same tag.", args: verify, key: otherPublic, digest: signed.Digest},
				"Attestation":      {reason: "An attestation under a legacy tag should verify.", args: verifyAttestation, key: public, digest: signed.Digest},
				"OtherAttestation": {reason: "It should not verify by another key.", args: verifyAttestation, key: otherPublic, digest: signed.Digest, fails: true},
				"Moved":            {reason: "The signature of another artifact should not verify.", args: verify, key: public, digest: moved.Digest, fails: true},
				"MovedAttestation": {reason: "Nor should its attestation.", args: verifyAttestation, key: public, digest: moved.Digest, fails: true},
			}
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					out, err := cosign(t, append(tc.args, "--key", tc.key, local, w.name(tc.digest))...)
					if (err != nil) != tc.fails {
						t.Errorf("\n%s\ncosign %v: want it to fail: %t, got %v:\n%s", tc.reason, tc.args, tc.fails, err, out)
					}
				})
			}
			t.Run("Hidden", func(t *testing.T) {
				// What docs say of copies: a bundle hides what is under legacy tags.
				w.refer(t, signed, attest.BundleType, w.provenance(t, k, signed.Digest))
				if out, err := cosign(t, "verify", "--key", otherPublic, local, w.name(signed.Digest)); err == nil {
					t.Errorf("cosign verify: want a bundle to hide legacy tags, got:\n%s", out)
				}
			})
		})
	}
}

// TestVerifyLegacyCommit checks what cosign says of what a commit writes under legacy tags,
// beside the signature of another there, and what is left once the artifact is deleted.
func TestVerifyLegacyCommit(t *testing.T) {
	needCosign(t)
	k, public := newKey(t)
	other, otherPublic := newKey(t)
	verifier, err := attest.NewVerifier(k.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	for kind, start := range registries {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, start(t))
			model := w.artifact(t, "model")
			foreign, err := other.LegacySignature(w.host+"/"+repository, model.Digest)
			if err != nil {
				t.Fatal(err)
			}
			w.legacy(t, model.Digest, attest.LegacySignatureSuffix, foreign)
			c := catalog.Catalog{
				Registry: w.Client, Repository: repository, Name: w.host + "/" + repository, LegacyTags: true,
				Owner: provenance.Owner{ID: "1", Namespace: "team-a", Name: "qwen3"},
				Keys:  provenance.Keys{Cluster: "c", Signer: k, Verifier: verifier},
			}
			commit := catalog.Commit{Digest: model.Digest, Tags: []string{"v1"}, Record: provenance.Record{RunHash: "20f1edbd2397685f", Run: 1}}
			if done, err := c.Commit(t.Context(), commit); err != nil || done.UnsignedLegacy != "" {
				t.Fatalf("Commit(...): got %+v, %v", done, err)
			}
			verify, verifyAttestation := []string{"verify"}, []string{"verify-attestation", "--type", "slsaprovenance1"}
			expect := func(reason, key string, verifies bool, args ...string) {
				t.Helper()
				if out, err := cosign(t, append(args, "--key", key, local, w.name(model.Digest))...); (err == nil) != verifies {
					t.Errorf("\n%s\ncosign %v: want it to verify: %t, got %v:\n%s", reason, args, verifies, err, out)
				}
			}
			expect("The bundle should verify.", public, true, verify...)

			// What reads legacy tags alone finds no bundle.
			all, err := w.Referrers(t.Context(), repository, model.Digest, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				if err := w.DeleteManifest(t.Context(), repository, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}); err != nil {
					t.Fatal(err)
				}
			}
			expect("The signature should verify.", public, true, verify...)
			expect("So should the other one's.", otherPublic, true, verify...)
			expect("The attestation should verify.", public, true, verifyAttestation...)
			expect("The other has attested nothing.", otherPublic, false, verifyAttestation...)

			if _, err := c.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: model.Digest.String()}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Resolve(t.Context(), repository, model.Digest.String()); err != nil {
				t.Fatalf("want the tag alone to be deleted: %v", err)
			}
			expect("The signature should be gone.", public, false, verify...)
			expect("So should the attestation.", public, false, verifyAttestation...)
			expect("The other's should be left.", otherPublic, true, verify...)
		})
	}
}

// TestVerifyModel checks that cosign verifies the signature of a model's files.
func TestVerifyModel(t *testing.T) {
	needCosign(t)
	k, public := newKey(t)
	_, otherPublic := newKey(t)
	model, err := attest.SignModel(t.Context(), k, filelist.List{Files: []filelist.File{{Path: "a", SHA256: digest.FromString("a").Encoded()}}}, "qwen3")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), attest.SignatureFile)
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(digest.FromString("a").Encoded())
	if err != nil {
		t.Fatal(err)
	}
	root := digest.FromBytes(raw).Encoded()
	cases := map[string]struct {
		reason string
		key    string
		digest string
		fails  bool
	}{
		"Signed":   {reason: "The signature should verify for the root of the files.", key: public, digest: root},
		"OtherKey": {reason: "Another key should not verify.", key: otherPublic, digest: root, fails: true},
		"Other":    {reason: "Other files should not verify.", key: public, digest: strings.Repeat("0", 64), fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := cosign(t, "verify-blob-attestation", "--bundle", path, "--key", tc.key, local, "--type", attest.ModelSigningType, "--digest", tc.digest, "--digestAlg", "sha256")
			if (err != nil) != tc.fails {
				t.Errorf("\n%s\ncosign verify-blob-attestation: want it to fail: %t, got %v:\n%s", tc.reason, tc.fails, err, out)
			}
		})
	}
}

// TestKeys checks that keys are exchanged with cosign in both directions.
func TestKeys(t *testing.T) {
	needCosign(t)
	dir := t.TempDir()
	private, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), private, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"generated": {"generate-key-pair"},
		"imported":  {"import-key-pair", "--yes", "--key", filepath.Join(dir, "key.pem")},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := cosign(t, append(args, "--output-key-prefix", filepath.Join(dir, name))...); err != nil {
				t.Fatalf("cosign %v: %v:\n%s", args, err, out)
			}
			read := func(file string) []byte {
				b, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			k, err := attest.ParsePrivateKey(read(name+".key"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(k.PublicPEM(), read(name+".pub")) || name == "imported" && k.KeyID() != mine.KeyID() {
				t.Errorf("cosign and the provider should have the same public key, got:\n%s", k.PublicPEM())
			}
			if _, err := attest.ParsePrivateKey(read(name+".key"), []byte("wrong")); err == nil {
				t.Error("A wrong password should be refused.")
			}
		})
	}
}
