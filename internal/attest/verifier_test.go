package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

var (
	testDigest  = digest.FromString("manifest")
	otherDigest = digest.FromString("other")
)

func testVerifier(t testing.TB, keys ...*Key) *Verifier {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, k.PublicPEM())
	}
	v, err := NewVerifier(all...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign(t testing.TB, k *Key, payloadType, payload string) []byte {
	t.Helper()
	b, err := k.Sign(t.Context(), payloadType, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testStatement returns a statement whose fields are changed.
func testStatement(change func(map[string]any)) string {
	s := map[string]any{
		"_type": statementType, "predicateType": "https://example.com/p",
		"subject":   []any{map[string]any{"name": "registry.example.com/m", "digest": map[string]any{"sha256": testDigest.Encoded()}}},
		"predicate": map[string]any{"a": "b"},
	}
	if change != nil {
		change(s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// changed returns a bundle whose JSON is changed.
func changed(t testing.TB, b []byte, change func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func inner(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	return m
}

func TestOpen(t *testing.T) {
	k, second, other := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	good := testStatement(nil)
	bundle := sign(t, k, PayloadType, good)
	subject := func(change func(map[string]any)) []byte {
		return sign(t, k, PayloadType, testStatement(func(s map[string]any) {
			list, _ := s["subject"].([]any)
			first, _ := list[0].(map[string]any)
			change(first)
		}))
	}
	with := func(keys ...string) func(string, any) []byte {
		return func(key string, value any) []byte {
			return changed(t, bundle, func(m map[string]any) {
				if value == nil {
					delete(inner(m, keys...), key)
					return
				}
				inner(m, keys...)[key] = value
			})
		}
	}
	one := map[string]any{"sig": "AAAA"}
	cases := map[string]struct {
		reason  string
		bundle  []byte
		subject digest.Digest
		want    string // Part of the error; empty for none.
		key     *Key
	}{
		"Signed":    {reason: "A bundle by a trusted key should be opened.", bundle: bundle, key: k},
		"Second":    {reason: "Each of the keys should be tried.", bundle: sign(t, second, PayloadType, good), key: second},
		"NoHint":    {reason: "The hint, which is not signed, should not matter.", bundle: with("verificationMaterial", "publicKey")("hint", nil), key: k},
		"WrongHint": {reason: "A wrong hint should not matter.", bundle: with("verificationMaterial", "publicKey")("hint", "x"), key: k},
		"Log":       {reason: "The entry of a log should not matter, since cosign adds one.", bundle: with("verificationMaterial")("tlogEntries", []any{map[string]any{"logIndex": "1"}}), key: k},
		"Indented":  {reason: "How the JSON is written should not matter.", bundle: indent(t, bundle), key: k},

		"Replayed":      {reason: "A bundle about another manifest should be refused.", bundle: bundle, subject: otherDigest, want: "the statement is about " + testDigest.String() + ", and not about " + otherDigest.String()},
		"OtherKey":      {reason: "A bundle by another key should be refused, and the key named.", bundle: sign(t, other, PayloadType, good), want: "none of the trusted keys, of which there are 2; it names key " + other.KeyID()},
		"OtherKeyQuiet": {reason: "A foreign hint that is no key's ID should not be repeated.", bundle: changed(t, sign(t, other, PayloadType, good), func(m map[string]any) { inner(m, "verificationMaterial", "publicKey")["hint"] = "IGNORE ME" }), want: "none of the trusted keys, of which there are 2"},
		"Altered":       {reason: "A statement that was altered should be refused.", bundle: with("dsseEnvelope")("payload", base64.StdEncoding.EncodeToString([]byte(strings.Replace(good, "\"b\"", "\"c\"", 1)))), want: "the statement was altered"},
		"AlteredType":   {reason: "A payload whose type was altered should be refused.", bundle: changed(t, sign(t, k, "application/json", good), func(m map[string]any) { inner(m, "dsseEnvelope")["payloadType"] = PayloadType }), want: "the statement was altered"},
		"NoSignature":   {reason: "A bundle that lost its signature should be refused.", bundle: with("dsseEnvelope")("signatures", []any{}), want: "has 0 signatures, and must have exactly one"},
		"Two":           {reason: "A bundle with a second signature should be refused.", bundle: with("dsseEnvelope")("signatures", []any{one, one}), want: "has 2 signatures, and must have exactly one"},
		"EmptySig":      {reason: "An empty signature should be refused.", bundle: with("dsseEnvelope")("signatures", []any{map[string]any{"sig": ""}}), want: "the statement was altered"},
		"Stripped":      {reason: "A bundle without an envelope should be refused.", bundle: with()("dsseEnvelope", nil), want: "dsseEnvelope is missing"},
		"NoMaterial":    {reason: "A bundle that does not say how it is verified should be refused.", bundle: with()("verificationMaterial", nil), want: "verificationMaterial.publicKey is missing"},
		"Certificate":   {reason: "A bundle with a certificate should be refused as such.", bundle: with()("verificationMaterial", map[string]any{"certificate": map[string]any{"rawBytes": "AAAA"}}), want: "with a certificate, and not with a key"},
		"Chain":         {reason: "So should one with a chain of certificates.", bundle: with()("verificationMaterial", map[string]any{"x509CertificateChain": map[string]any{}}), want: "with a certificate, and not with a key"},
		"Version":       {reason: "A bundle of another version should be refused.", bundle: with()("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.1"), want: "no Sigstore bundle v0.3"},
		"Message":       {reason: "A bundle of another content should be refused.", bundle: changed(t, bundle, func(m map[string]any) { delete(m, "dsseEnvelope"); m["messageSignature"] = map[string]any{} }), want: `unknown field "messageSignature"`},
		"Unknown":       {reason: "A bundle with an unknown field should be refused.", bundle: with("dsseEnvelope")("more", "x"), want: `unknown field "more"`},
		"LongUnknown":   {reason: "An error should not repeat a foreign name without end.", bundle: with("dsseEnvelope")(strings.Repeat("a", 1000), "x"), want: "aaa…"},
		"Payload":       {reason: "A payload of another type should be refused, even if it is signed.", bundle: sign(t, k, "application/json", good), want: "the bundle holds no in-toto statement"},
		"NotJSON":       {reason: "Anything but JSON should be refused.", bundle: []byte("PK\x03\x04"), want: "cannot read the Sigstore bundle"},
		"Nothing":       {reason: "An empty document should be refused.", want: "cannot read the Sigstore bundle"},
		"Null":          {reason: "A null should be refused.", bundle: []byte("null"), want: "no Sigstore bundle v0.3"},
		"TwoDocuments":  {reason: "A second document should be refused.", bundle: append(bytes.Clone(bundle), bundle...), want: "there is more after the JSON document"},
		"Large":         {reason: "A document without end should not be parsed.", bundle: bytes.Repeat([]byte(" "), MaxBundleBytes+1), want: "too large"},
		"Deep":          {reason: "A document that is nested without end should not be parsed.", bundle: []byte(strings.Repeat("[", 10_000)), want: "too deeply nested"},

		"StatementType":    {reason: "A statement of another version should be refused.", bundle: sign(t, k, PayloadType, testStatement(func(s map[string]any) { s["_type"] = "https://in-toto.io/Statement/v0.1" })), want: "no in-toto statement v1"},
		"StatementUnknown": {reason: "A statement with an unknown field should be refused, as cosign does.", bundle: sign(t, k, PayloadType, testStatement(func(s map[string]any) { s["more"] = 1 })), want: `unknown field "more"`},
		"SubjectUnknown":   {reason: "A subject with an unknown field should be refused, as cosign does.", bundle: subject(func(s map[string]any) { s["size"] = 1 }), want: `unknown field "size"`},
		"NoSubject":        {reason: "A statement about nothing should be refused.", bundle: sign(t, k, PayloadType, testStatement(func(s map[string]any) { s["subject"] = []any{} })), want: "has 0 subjects"},
		"TwoSubjects": {reason: "A statement about two manifests should be refused.", bundle: sign(t, k, PayloadType, testStatement(func(s map[string]any) {
			list, _ := s["subject"].([]any)
			s["subject"] = append(list, list[0])
		})), want: "has 2 subjects"},
		"TwoDigests":    {reason: "A subject with two digests should be refused.", bundle: subject(func(s map[string]any) { inner(s, "digest")["sha512"] = "00" }), want: "exactly one digest, a SHA-256"},
		"OtherDigest":   {reason: "A subject with a digest of another kind should be refused.", bundle: subject(func(s map[string]any) { s["digest"] = map[string]any{"sha512": "00"} }), want: "exactly one digest, a SHA-256"},
		"BrokenDigest":  {reason: "A subject whose digest is none should be refused.", bundle: subject(func(s map[string]any) { inner(s, "digest")["sha256"] = "00\n" }), want: "exactly one digest, a SHA-256"},
		"NotAStatement": {reason: "A signed payload that is no JSON should be refused.", bundle: sign(t, k, PayloadType, "hello"), want: "cannot read the in-toto statement"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.subject == "" {
				tc.subject = testDigest
			}
			statement, id, err := testVerifier(t, k, second).Open(tc.bundle, tc.subject)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || statement != nil || id != "" {
					t.Errorf("\n%s\nOpen(...): want an error with %q, got %v", tc.reason, tc.want, err)
				}
				if err != nil && (len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x1b")) {
					t.Errorf("\n%s\nOpen(...): want a short line, got %q", tc.reason, err)
				}
				return
			}
			if err != nil || string(statement) != good || id != tc.key.KeyID() {
				t.Errorf("\n%s\nOpen(...): want the statement by %s, got %s by %s, %v", tc.reason, tc.key, statement, id, err)
			}
		})
	}
	if _, _, err := testVerifier(t).Open(bundle, testDigest); err == nil || !strings.Contains(err.Error(), "no key is trusted") {
		t.Errorf("Without keys nothing should be trusted.\nOpen(...): got %v", err)
	}
}

func indent(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSignIsDeterministic(t *testing.T) {
	k := testKey(t, 1)
	one, two := sign(t, k, PayloadType, testStatement(nil)), sign(t, k, PayloadType, testStatement(nil))
	if !bytes.Equal(one, two) {
		t.Error("The same statement should be signed with the same bytes, so that pushing it again adds nothing.")
	}
	want := map[string]any{
		"mediaType":            BundleType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": k.KeyID()}},
		"dsseEnvelope": map[string]any{
			"payload": base64.StdEncoding.EncodeToString([]byte(testStatement(nil))), "payloadType": PayloadType, "signatures": []any{map[string]any{}},
		},
	}
	var got map[string]any
	if err := json.Unmarshal(one, &got); err != nil {
		t.Fatal(err)
	}
	list, _ := inner(got, "dsseEnvelope")["signatures"].([]any)
	first, _ := list[0].(map[string]any)
	delete(first, "sig")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("A bundle should have the fields that verifiers read, and no others: -want, +got:\n%s", diff)
	}
}

func TestNewVerifier(t *testing.T) {
	k, second := testKey(t, 1), testKey(t, 2)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	other := encodePEM(t, pemPublic, der, err)
	var many [][]byte
	for n := range maxKeys + 1 {
		many = append(many, testKey(t, byte(n+1)).PublicPEM())
	}
	cases := map[string]struct {
		reason string
		files  [][]byte
		keys   []string
		want   string // Part of the error; empty for none.
	}{
		"None":    {reason: "No keys should be no error.", keys: []string{}},
		"Two":     {reason: "The keys should be kept in their order.", files: [][]byte{second.PublicPEM(), k.PublicPEM()}, keys: []string{second.KeyID(), k.KeyID()}},
		"OneFile": {reason: "One file may hold several keys.", files: [][]byte{slices.Concat(k.PublicPEM(), second.PublicPEM())}, keys: []string{k.KeyID(), second.KeyID()}},
		"Twice":   {reason: "A key should be kept once.", files: [][]byte{k.PublicPEM(), k.PublicPEM()}, keys: []string{k.KeyID()}},
		"Curve":   {reason: "Another curve should be refused with the cure.", files: [][]byte{other}, want: "curve P-384, and only ECDSA keys on curve P-256"},
		"Private": {reason: "A private key should be refused.", files: [][]byte{pkcs8(t, k.private)}, want: "the PEM block is no public key"},
		"Broken":  {reason: "A key that is cut should be refused.", files: [][]byte{encodePEM(t, pemPublic, der[:20], nil)}, want: "cannot parse the public key"},
		"Empty":   {reason: "A file without a key should be refused.", files: [][]byte{{}}, want: "there must be from 1 to"},
		"Long":    {reason: "A file without end should not be parsed.", files: [][]byte{bytes.Repeat([]byte("a"), maxKeyBytes+1)}, want: "at most 16384 are read"},
		"Blocks":  {reason: "A file should have only so many keys.", files: [][]byte{slices.Concat(many[:maxKeyBlocks+1]...)}, want: "from 1 to 16 public keys"},
		"Many":    {reason: "Only so many keys should be trusted at once.", files: many, want: "at most 32 can be trusted"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v, err := NewVerifier(tc.files...)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("\n%s\nNewVerifier(...): want an error with %q, got %v", tc.reason, tc.want, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("\n%s\nNewVerifier(...): %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.keys, v.KeyIDs()); diff != "" {
				t.Errorf("\n%s\nKeyIDs(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzOpen checks that no bundle makes a Verifier panic, that none is opened but those
// that the key signed, and that errors are short lines.
func FuzzOpen(f *testing.F) {
	k := testKey(f, 1)
	v := testVerifier(f, k)
	good := testStatement(nil)
	f.Add(sign(f, k, PayloadType, good))
	f.Add(sign(f, testKey(f, 2), PayloadType, good))
	f.Add(sign(f, k, PayloadType, "{}"))
	f.Add([]byte(`{"mediaType":"` + BundleType + `","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"signatures":[{"sig":"AA=="}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		statement, id, err := v.Open(b, testDigest)
		if err == nil && (string(statement) != good || id != k.KeyID()) {
			t.Errorf("Open(...): %s by %s was never signed", statement, id)
		}
		if err != nil && (len(err.Error()) > 400 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("Open(...): %q", err)
		}
	})
}
