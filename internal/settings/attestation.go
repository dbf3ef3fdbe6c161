package settings

import (
	"cmp"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An Attestation is how a config has artifacts signed.
type Attestation struct {
	// Signer signs; nil for the provider's own key.
	Signer attest.Signer

	// Verifier trusts the config's keys beside the provider's own; nil if it has none.
	Verifier *attest.Verifier

	// Unusable says why what the config signs with cannot be used, with the cure; nil
	// if it can. Nothing must be signed then.
	Unusable error

	// Copies has copies with the digest of their source be attested to verifiers, too.
	Copies bool

	// LegacyTags has what is attested be written under legacy tags as well.
	LegacyTags bool
}

// publicKeyFile is the key of a signing key's Secret that has public keys, earlier ones
// too, as cosign generate-key-pair names it.
const publicKeyFile = "cosign.pub"

// attestationFor returns how the config has the Artifact's artifacts signed. It reads the
// Secret, unless the memory has its key.
func (p *providerConfig) attestationFor(ctx context.Context, kube client.Reader, secrets *secretReader) Attestation {
	if p.Attestation == nil {
		return Attestation{}
	}
	out := p.signerFor(ctx, kube, secrets)
	out.Copies, out.LegacyTags = p.Attestation.Copies == v1alpha1.CopyAttestationAttest, p.Attestation.LegacyTags
	return out
}

// signerFor returns what the config signs with.
func (p *providerConfig) signerFor(ctx context.Context, kube client.Reader, secrets *secretReader) Attestation {
	k := p.signingKey()
	if k == nil {
		return Attestation{}
	}
	if err := p.admitKeyNamespace(ctx, kube, k.Namespace); err != nil {
		return Attestation{Unusable: err}
	}
	if spec := p.Attestation.Keyless; spec != nil {
		return secrets.signer(ctx, signingSecret{secretKey: *k, keyless: *spec}, secrets.readKeyless)
	}
	return secrets.signer(ctx, signingSecret{
		secretKey: *k, passwordKey: cmp.Or(p.Attestation.KeySecretRef.PasswordKey, v1alpha1.DefaultSigningKeyPassword),
	}, secrets.readSigningKey)
}

// signingKey returns the reference to the config's signing key or trusted root; nil for
// none. No run gets a copy of it.
func (p *providerConfig) signingKey() *secretKey {
	switch {
	case p.Attestation == nil:
		return nil
	case p.Attestation.Keyless != nil:
		ref := p.Attestation.Keyless.TrustedRootSecretRef
		return &secretKey{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, key: cmp.Or(ref.Key, v1alpha1.DefaultTrustedRootKey)}
	case p.Attestation.KeySecretRef == nil:
		return nil
	}
	ref := p.Attestation.KeySecretRef
	return &secretKey{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, key: cmp.Or(ref.Key, v1alpha1.DefaultSigningKey)}
}

// admitKeyNamespace returns an error with reason NotAllowed if a signing key, or a trusted
// root, is in a namespace where runs of any config execute, of which Pods can have it, or
// that has Artifacts, where a tenant may exchange it.
func (p *providerConfig) admitKeyNamespace(ctx context.Context, kube client.Reader, namespace string) error {
	what, field := "signing key", "keySecretRef"
	if p.Attestation.Keyless != nil {
		what, field = "trusted root", "keyless.trustedRootSecretRef"
	}
	switch by, err := p.runsIn(ctx, kube, namespace); {
	case err != nil:
		return errors.Wrapf(err, "cannot list ClusterProviderConfigs, of which none must have its runs in namespace %q since a %s is there", namespace, what)
	case by != "":
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q has its %s in namespace %q, where runs of ClusterProviderConfig %q execute, so that a Pod there may have or exchange it: move the Secret to another namespace, such as the provider's, and name that in its spec.attestation.%s", p.name, what, namespace, by, field)
	}
	list := &modelv1alpha1.ArtifactList{}
	// The list is not modified.
	if err := kube.List(ctx, list, client.InNamespace(namespace), client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return errors.Wrapf(err, "cannot list the Artifacts of namespace %q, which must have none since a %s is there", namespace, what)
	}
	if len(list.Items) == 0 {
		return nil
	}
	return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q has its %s in namespace %q, which has Artifacts, so that who uses that namespace may exchange it: move the Secret to a namespace without Artifacts, such as the provider's, and name that in its spec.attestation.%s", p.name, what, namespace, field)
}

// runsIn returns the name of a ClusterProviderConfig whose runs execute in a namespace of
// their own, this one; empty for none.
func (p *providerConfig) runsIn(ctx context.Context, kube client.Reader, namespace string) (string, error) {
	if p.Job.Namespace == namespace {
		return p.name, nil
	}
	configs := &v1alpha1.ClusterProviderConfigList{}
	// The list is not modified.
	if err := kube.List(ctx, configs, client.UnsafeDisableDeepCopy); err != nil {
		return "", err
	}
	for _, c := range configs.Items {
		if c.Spec.Job != nil && c.Spec.Job.Namespace == namespace {
			return c.GetName(), nil
		}
	}
	return "", nil
}

// A signingSecret references a private key and its password in a Secret, or the trusted
// root by which an identity signs.
type signingSecret struct {
	secretKey
	passwordKey string
	keyless     v1alpha1.KeylessSpec
}

// signer returns what signs by a Secret, as it is remembered or read.
func (r *secretReader) signer(ctx context.Context, k signingSecret, read func(context.Context, signingSecret) Attestation) Attestation {
	if r.memory == nil {
		return read(ctx, k)
	}
	return r.memory.signingKey(ctx, k, read)
}

// tokenFile has the provider's OIDC token. It is where cosign looks for one
// (https://github.com/sigstore/cosign, pkg/providers/filesystem). No config can name
// another: the file's content is sent to an address of the config's.
const tokenFile = "/var/run/sigstore/cosign/oidc-token" //nolint:gosec // The name of a file.

// readKeyless reads the trusted root by which an identity signs.
func (r *secretReader) readKeyless(ctx context.Context, k signingSecret) Attestation {
	root, err := r.value(ctx, &k.secretKey)
	if err != nil {
		return Attestation{Unusable: err}
	}
	signer, err := keyless.NewSigner(keyless.SignerOptions{
		FulcioURL: string(k.keyless.FulcioURL), RekorURL: string(k.keyless.RekorURL), TimestampURL: string(k.keyless.TimestampURL),
		PlainHTTP: k.keyless.PlainHTTP, CA: []byte(k.keyless.CABundle), TokenFile: tokenFile, TrustedRoot: root,
		Identity: keyless.Identity{Issuer: k.keyless.Identity.Issuer, Subject: k.keyless.Identity.Subject},
	})
	if err != nil {
		return Attestation{Unusable: outcome.Errorf(outcome.ConfigInvalid, "spec.attestation.keyless of the ClusterProviderConfig cannot be used to sign: %s", err).Because(err)}
	}
	return Attestation{Signer: signer, Verifier: attest.NewIdentityVerifier(signer.Verifier())}
}

// readSigningKey reads the Secret of a signing key.
func (r *secretReader) readSigningKey(ctx context.Context, k signingSecret) Attestation {
	secret, err := r.get(ctx, &k.secretKey)
	if err != nil {
		return Attestation{Unusable: err}
	}
	invalid := func(key string, err error) Attestation {
		return Attestation{Unusable: outcome.Errorf(outcome.ConfigInvalid, "The key %q of Secret %q in namespace %q cannot be used to sign: %s", key, k.Name, k.Namespace, err).Because(err)}
	}
	signer, err := attest.ParsePrivateKey(secret.Data[k.key], secret.Data[k.passwordKey])
	if err != nil {
		return invalid(k.key, err)
	}
	public := [][]byte{signer.PublicPEM()}
	if earlier := valueOf(secret, publicKeyFile); earlier != nil {
		public = append(public, earlier)
	}
	verifier, err := attest.NewVerifier(public...)
	if err != nil {
		return invalid(publicKeyFile, err)
	}
	return Attestation{Signer: signer, Verifier: verifier}
}

// A knownKey is what the Secret of a version says of a signing key.
type knownKey struct {
	version     string
	attestation Attestation
}

// signingKey returns the key that a Secret has. What is not known, or not current, is
// read. That a key is invalid is remembered, too, since decrypting one takes a second.
func (m *CredentialMemory) signingKey(ctx context.Context, k signingSecret, read func(context.Context, signingSecret) Attestation) Attestation {
	version, ok := shownVersions(ctx, m.metadata, &k.secretKey)
	if !ok {
		m.keys.Remove(k)
		return read(ctx, k)
	}
	if known, ok := m.keys.Get(k); ok {
		if known, ok := known.(knownKey); ok && known.version == version {
			return known.attestation
		}
	}
	out := read(ctx, k)
	if r := outcome.ReasonOf(out.Unusable); out.Unusable != nil && r != outcome.ConfigInvalid {
		m.keys.Remove(k)
		return out
	}
	m.keys.Add(k, knownKey{version: version, attestation: out})
	return out
}
