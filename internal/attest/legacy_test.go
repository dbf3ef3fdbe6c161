package attest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestReadLegacyManifest(t *testing.T) {
	layer := func(n string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: simpleSigningType, Digest: digest.FromString(n), Size: 1, Annotations: map[string]string{signatureAnnotation: n}}
	}
	encode := func(m any) []byte {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, _, err := LegacyManifest(ocispec.Manifest{Annotations: map[string]string{"by": "another"}}, []ocispec.Descriptor{layer("a")})
	if err != nil {
		t.Fatal(err)
	}
	signatures := func(change func(*ocispec.Manifest)) []byte {
		m, err := ReadLegacyManifest(first)
		if err != nil {
			t.Fatal(err)
		}
		change(&m)
		return encode(m)
	}
	const other = "it holds something else than signatures as cosign writes them"
	cases := map[string]struct {
		reason   string
		manifest []byte
		layers   int
		err      string
	}{
		"Signatures":   {reason: "Signatures as cosign writes them should be read.", manifest: first, layers: 1},
		"WithoutType":  {reason: "The type of the manifest may be missing.", manifest: signatures(func(m *ocispec.Manifest) { m.MediaType = "" }), layers: 1},
		"Index":        {reason: "An index should be left alone.", manifest: encode(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}), err: other},
		"Docker":       {reason: "So should a manifest of another type.", manifest: signatures(func(m *ocispec.Manifest) { m.MediaType = "application/vnd.docker.distribution.manifest.v2+json" }), err: other},
		"Config":       {reason: "So should an artifact of another kind.", manifest: signatures(func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.cncf.model.config.v1+json" }), err: other},
		"ArtifactType": {reason: "So should a manifest that says what it is.", manifest: signatures(func(m *ocispec.Manifest) { m.ArtifactType = BundleType }), err: other},
		"Subject":      {reason: "So should a referrer.", manifest: signatures(func(m *ocispec.Manifest) { m.Subject = &ocispec.Descriptor{} }), err: other},
		"TooMany":      {reason: "A hostile number of layers should be refused.", manifest: signatures(func(m *ocispec.Manifest) { m.Layers = make([]ocispec.Descriptor, maxLegacyLayers+1) }), err: "at most 256 are kept"},
		"NoJSON":       {reason: "What is no manifest should be refused.", manifest: []byte("{"), err: "cannot read the manifest of signatures"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := ReadLegacyManifest(tc.manifest)
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) || tc.err == "" && err != nil {
				t.Fatalf("\n%s\nReadLegacyManifest(...): want error %q, got %v", tc.reason, tc.err, err)
			}
			if len(m.Layers) != tc.layers {
				t.Errorf("\n%s\nReadLegacyManifest(...): want %d layers, got %d", tc.reason, tc.layers, len(m.Layers))
			}
		})
	}
	t.Run("Rewritten", func(t *testing.T) {
		m, err := ReadLegacyManifest(first)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := LegacyManifest(m, append(m.Layers, layer("b")))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadLegacyManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]ocispec.Descriptor{layer("a"), layer("b")}, got.Layers); diff != "" || got.Annotations["by"] != "another" {
			t.Errorf("A manifest that is rewritten should keep what others wrote: annotations %v, layers -want, +got:\n%s", got.Annotations, diff)
		}
	})
}

func TestLegacySignature(t *testing.T) {
	mine, other := testKey(t, 1), testKey(t, 2)
	const repository = "registry.example.com/models/qwen3"
	d := digest.FromString("model")
	sign := func(k *Key, repository string, d digest.Digest) ocispec.Descriptor {
		l, err := k.LegacySignature(repository, d)
		if err != nil {
			t.Fatal(err)
		}
		return l.Descriptor
	}
	altered := sign(mine, repository, d)
	altered.Annotations = map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString([]byte("x"))}
	bare := sign(mine, repository, d)
	bare.Annotations = nil
	cases := map[string]struct {
		reason string
		layer  ocispec.Descriptor
		want   bool
	}{
		"Own":        {reason: "A signature by a trusted key is one of ours.", layer: sign(mine, repository, d), want: true},
		"OtherKey":   {reason: "One of the same artifact by another key is foreign, though its layer has the same digest.", layer: sign(other, repository, d)},
		"Repository": {reason: "So is one in another repository.", layer: sign(mine, "registry.example.com/other", d)},
		"Digest":     {reason: "So is one of another artifact.", layer: sign(mine, repository, digest.FromString("other"))},
		"Altered":    {reason: "So is one whose signature was altered.", layer: altered},
		"Bare":       {reason: "So is one without a signature.", layer: bare},
		"Type":       {reason: "So is a layer of another type.", layer: ocispec.Descriptor{MediaType: envelopeType, Digest: altered.Digest, Annotations: sign(mine, repository, d).Annotations}},
	}
	v, err := NewVerifier(mine.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := v.IsLegacySignature(repository, d, tc.layer); got != tc.want {
				t.Errorf("\n%s\nIsLegacySignature(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// legacyEnvelope returns the envelope of an attestation about a digest.
func legacyEnvelope(t testing.TB, k *Key, d digest.Digest) LegacyLayer {
	t.Helper()
	statement, err := encodeStatement("registry.example.com/models/qwen3", d.Encoded(), ProvenanceType, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := k.Sign(t.Context(), PayloadType, statement)
	if err != nil {
		t.Fatal(err)
	}
	l, err := LegacyAttestation(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOpenEnvelope(t *testing.T) {
	mine, other := testKey(t, 1), testKey(t, 2)
	d := digest.FromString("model")
	v, err := NewVerifier(mine.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	own := legacyEnvelope(t, mine, d)
	if !IsLegacyProvenance(own.Descriptor) {
		t.Error("want the layer to say that it is a provenance")
	}
	cases := map[string]struct {
		reason   string
		envelope []byte
		err      string
	}{
		"Own":      {reason: "An attestation by a trusted key should be opened.", envelope: own.Content},
		"OtherKey": {reason: "One by another key should not.", envelope: legacyEnvelope(t, other, d).Content, err: "by a trusted key"},
		"Digest":   {reason: "Nor one about another artifact.", envelope: legacyEnvelope(t, mine, digest.FromString("other")).Content, err: "the statement is about"},
		"Bundle":   {reason: "Nor what is no envelope.", envelope: []byte(`{"mediaType":"x"}`), err: "cannot read the DSSE envelope"},
		"Empty":    {reason: "Nor an envelope of nothing.", envelope: []byte(`{}`), err: "by a trusted key"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			payload, err := v.OpenEnvelope(tc.envelope, d)
			if tc.err == "" && (err != nil || len(payload) == 0) || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("\n%s\nOpenEnvelope(...): want error %q, got %v", tc.reason, tc.err, err)
			}
		})
	}
}

// FuzzLegacy reads what anyone who may push can have written under legacy tags.
func FuzzLegacy(f *testing.F) {
	k := testKey(f, 1)
	d := digest.FromString("model")
	own := legacyEnvelope(f, k, d)
	manifest, _, err := LegacyManifest(ocispec.Manifest{}, []ocispec.Descriptor{own.Descriptor})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(manifest)
	f.Add(own.Content)
	f.Add([]byte(`{"layers":[{}]}`))
	v, err := NewVerifier(k.PublicPEM())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ReadLegacyManifest(b); err == nil {
			again, _, err := LegacyManifest(m, m.Layers)
			if err != nil {
				t.Fatal(err)
			}
			if read, err := ReadLegacyManifest(again); err != nil || len(read.Layers) != len(m.Layers) {
				t.Errorf("a manifest should be read again once it is rewritten: %v", err)
			}
			for _, l := range m.Layers {
				_ = v.IsLegacySignature("r", d, l)
			}
		}
		if payload, err := v.OpenEnvelope(b, d); err == nil && len(payload) == 0 {
			t.Error("an envelope of nothing was opened")
		}
	})
}
