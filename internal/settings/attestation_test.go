package settings

import (
	"encoding/pem"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

// signingPair returns a private key and its public one, both in PEM.
func signingPair(t *testing.T) (private, public string) {
	t.Helper()
	b, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.ParsePrivateKey(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), string(k.PublicPEM())
}

// encryptedKey returns a private key in PEM as cosign encrypts it.
func encryptedKey(t *testing.T, private, password string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(private))
	b, err := encrypted.EncryptWithCustomKDFParameters(block.Bytes, []byte(password), encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: b}))
}

func TestAttestation(t *testing.T) {
	private, public := signingPair(t)
	_, earlier := signingPair(t)
	named := func(key, password string) *v1alpha1.AttestationSpec {
		return &v1alpha1.AttestationSpec{KeySecretRef: &v1alpha1.SigningKeySelector{
			SecretReference: xpv2.SecretReference{Namespace: "keys", Name: "cosign"}, Key: key, PasswordKey: password,
		}}
	}
	type want struct {
		Signs  bool
		KeyIDs int
		Reason outcome.Reason
		Error  string
	}
	trusted := string(sigstore.New(t).TrustedRoot())
	keyless := func(issuer, key string) *v1alpha1.AttestationSpec {
		return &v1alpha1.AttestationSpec{Keyless: &v1alpha1.KeylessSpec{
			FulcioURL: "https://fulcio.example.com", RekorURL: "https://rekor.example.com",
			Identity:             v1alpha1.KeylessIdentity{Issuer: issuer, Subject: "provider"},
			TrustedRootSecretRef: v1alpha1.KeylessTrustedRootSelector{SecretReference: xpv2.SecretReference{Namespace: "keys", Name: "root"}, Key: key},
		}}
	}
	tenant := credentialsArtifact(false)
	tenant.SetNamespace("keys")
	copied := credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})
	copied.Type = artifact.SecretTypeCredentials
	cases := map[string]struct {
		reason  string
		spec    *v1alpha1.AttestationSpec
		runs    string // Where runs execute, if not in the Artifact's namespace.
		objects []client.Object
		want    want
	}{
		"Own": {reason: "Without a key of the config's the provider's own signs."},
		"Config": {
			reason:  "The config's key should sign and verify.",
			spec:    named("", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private, "cosign.pub": public})},
			want:    want{Signs: true, KeyIDs: 1},
		},
		"Rotated": {
			reason:  "Earlier keys should verify beside the one that signs.",
			spec:    named("tls.key", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"tls.key": private, "cosign.pub": earlier})},
			want:    want{Signs: true, KeyIDs: 2},
		},
		"Encrypted": {
			reason:  "A key that cosign has encrypted should be used with its password.",
			spec:    named("", "password"),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": encryptedKey(t, private, "secret"), "password": "secret"})},
			want:    want{Signs: true, KeyIDs: 1},
		},
		"WrongPassword": {
			reason:  "Without the password it cannot be used.",
			spec:    named("", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": encryptedKey(t, private, "secret"), "cosign.password": "wrong"})},
			want:    want{Reason: outcome.ConfigInvalid, Error: "cannot decrypt the private key"},
		},
		"Missing": {
			reason: "A Secret that is missing should be named with its key.",
			spec:   named("", ""),
			want:   want{Reason: outcome.ConfigMissing, Error: `Secret "cosign" in namespace "keys" does not exist: create it with the key "cosign.key"`},
		},
		"NoKey": {
			reason:  "So should a key that the Secret lacks.",
			spec:    named("other.key", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})},
			want:    want{Reason: outcome.ConfigMissing, Error: `has no value for the key "other.key"`},
		},
		"Invalid": {
			reason:  "A value that is no private key should be named, and not be repeated.",
			spec:    named("", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": public})},
			want:    want{Reason: outcome.ConfigInvalid, Error: `The key "cosign.key" of Secret "cosign" in namespace "keys" cannot be used to sign: the key is a public one`},
		},
		"InvalidPublic": {
			reason:  "So should public keys that are none.",
			spec:    named("", ""),
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private, "cosign.pub": private})},
			want:    want{Reason: outcome.ConfigInvalid, Error: `The key "cosign.pub" of Secret "cosign"`},
		},
		"Tenant": {
			reason:  "A key where a tenant may exchange it must not be used.",
			spec:    named("", ""),
			objects: []client.Object{tenant, credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})},
			want:    want{Reason: outcome.NotAllowed, Error: `move the Secret to a namespace without Artifacts`},
		},
		"Runs": {
			reason:  "So must one where runs execute.",
			spec:    named("", ""),
			runs:    "keys",
			objects: []client.Object{credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})},
			want:    want{Reason: outcome.NotAllowed, Error: `where runs of ClusterProviderConfig "default" execute`},
		},
		"OtherRuns": {
			reason: "So must one where runs of another config execute.",
			spec:   named("", ""),
			objects: []client.Object{
				credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private}),
				&v1alpha1.ClusterProviderConfig{
					ObjectMeta: metav1.ObjectMeta{Name: "other"},
					Spec:       v1alpha1.ClusterProviderConfigSpec{Job: &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "keys"}}},
				},
			},
			want: want{Reason: outcome.NotAllowed, Error: `where runs of ClusterProviderConfig "other" execute`},
		},
		"Keyless": {
			reason:  "An identity should sign without a key.",
			spec:    keyless("issuer", ""),
			objects: []client.Object{credentialsSecret("keys", "root", map[string]string{"trusted_root.json": trusted})},
			want:    want{Signs: true},
		},
		"KeylessMissing": {
			reason: "A trusted root that is missing should be named.",
			spec:   keyless("issuer", "root.json"),
			want:   want{Reason: outcome.ConfigMissing, Error: `create it with the key "root.json"`},
		},
		"KeylessInvalid": {
			reason:  "So should one that is none.",
			spec:    keyless("issuer", ""),
			objects: []client.Object{credentialsSecret("keys", "root", map[string]string{"trusted_root.json": "{}"})},
			want:    want{Reason: outcome.ConfigInvalid, Error: "spec.attestation.keyless of the ClusterProviderConfig cannot be used to sign"},
		},
		"KeylessTenant": {
			reason:  "A trusted root where a tenant may exchange it must not be used.",
			spec:    keyless("issuer", ""),
			objects: []client.Object{tenant, credentialsSecret("keys", "root", map[string]string{"trusted_root.json": trusted})},
			want:    want{Reason: outcome.NotAllowed, Error: "spec.attestation.keyless.trustedRootSecretRef"},
		},
		"Copy": {
			reason:  "A Secret that the provider made must not be used.",
			spec:    named("", ""),
			objects: []client.Object{copied},
			want:    want{Reason: outcome.NotAllowed, Error: "name a Secret that you created"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			config := clusterConfig()
			config.Spec.Registry.Credentials, config.Spec.Registry.CertSecretRef = v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone}, nil
			config.Spec.Attestation, config.Spec.Job = tc.spec, &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: tc.runs}}
			s, err := resolve(t, newKube(t, tc.objects...), config, credentialsArtifact(false))
			if err != nil {
				t.Fatal(err)
			}
			got := want{Signs: s.Attestation.Signer != nil}
			if s.Attestation.Verifier != nil {
				got.KeyIDs = len(s.Attestation.Verifier.KeyIDs())
			}
			if err := s.Attestation.Unusable; err != nil {
				got.Reason, got.Error = outcome.ReasonOf(err), err.Error()
				if strings.Contains(got.Error, tc.want.Error) {
					got.Error = tc.want.Error
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSigningKeyMemory reads the Secret of a signing key only when it has changed.
func TestSigningKeyMemory(t *testing.T) {
	private, _ := signingPair(t)
	other, _ := signingPair(t)
	secret := credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})
	w := newMemoryWorld(t, secret)
	if err := w.server.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	k := signingSecret{
		secretKey:   secretKey{NamespacedName: types.NamespacedName{Namespace: "keys", Name: "cosign"}, key: "cosign.key"},
		passwordKey: "cosign.password",
	}
	expect := func(signs bool, reads int, reason string) {
		t.Helper()
		w.reads = 0
		w.secretReader = secretReader{kube: w.server, memory: w.memory}
		if got := w.signer(t.Context(), k, w.readSigningKey); (got.Unusable == nil) != signs || w.reads != reads {
			t.Errorf("\n%s\nsigner(...): want it to sign: %t, with %d reads, got %+v with %d", reason, signs, reads, got, w.reads)
		}
	}
	expect(true, 1, "The key should be read at first.")
	expect(true, 0, "It should be remembered.")
	w.change(secret, "cosign.key", other)
	expect(true, 1, "A key that changed should be read again.")
	w.change(secret, "cosign.key", "no key")
	expect(false, 1, "So should one that is no key.")
	expect(false, 0, "That it is none should be remembered, too.")
	if err := w.server.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	expect(false, 1, "A Secret that is deleted should be an error at once.")
	if err := w.server.Create(t.Context(), credentialsSecret("keys", "cosign", map[string]string{"cosign.key": private})); err != nil {
		t.Fatal(err)
	}
	expect(true, 1, "A Secret that is created again should be read.")
}

// TestSecretsOfSigningKey has a change of the key's Secret reconcile the Artifacts that
// wait for it, and no run get a copy.
func TestSecretsOfSigningKey(t *testing.T) {
	config := clusterConfig()
	config.Spec.Attestation = &v1alpha1.AttestationSpec{KeySecretRef: &v1alpha1.SigningKeySelector{SecretReference: xpv2.SecretReference{Namespace: "keys", Name: "cosign"}}}
	if diff := cmp.Diff([]string{"system/registry", "system/certs", "keys/cosign"}, SecretsOf(config)); diff != "" {
		t.Errorf("SecretsOf(...): -want, +got:\n%s", diff)
	}
	if k := fromClusterProviderConfig(config).signingKey(); k.copied {
		t.Error("A signing key must never be copied for a run.")
	}
}
