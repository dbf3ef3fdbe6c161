package artifact

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

const (
	// DefaultPublicKey is the default key of public keys in a Secret or a ConfigMap.
	DefaultPublicKey = "cosign.pub"

	// DefaultTrustedRoot is the default key of a Sigstore's trusted root.
	DefaultTrustedRoot = "trusted_root.json"
)

// A file is a key of a Secret or a ConfigMap; without a name it is none.
type file struct{ name, key string }

// String returns name/key; empty for none.
func (f file) String() string {
	if f.name == "" {
		return ""
	}
	return f.name + "/" + f.key
}

// secret returns the file in a Secret; nil for none.
func (f file) secret() *corev1.SecretKeySelector {
	if f.name == "" {
		return nil
	}
	return SecretKey(f.name, f.key)
}

// configMap returns the file in a ConfigMap; nil for none.
func (f file) configMap() *corev1.ConfigMapKeySelector {
	if f.name == "" {
		return nil
	}
	return &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: f.name}, Key: f.key}
}

// publicKey returns the file that a selector names.
func publicKey(s *modelv1alpha1.PublicKeySelector) file {
	if s == nil {
		return file{}
	}
	return file{s.Name, cmp.Or(s.Key, DefaultPublicKey)}
}

// trustedRoot returns the file that a selector names.
func trustedRoot(s *modelv1alpha1.TrustedRootSelector) file {
	if s == nil {
		return file{}
	}
	return file{s.Name, cmp.Or(s.Key, DefaultTrustedRoot)}
}

// hashedVerify returns the part of who must have signed a source that is in the run
// hash; nil if none is required.
func hashedVerify(v *modelv1alpha1.Verification) *runHashVerify {
	if v == nil {
		return nil
	}
	out := &runHashVerify{
		Key:           strings.TrimSpace(v.Key),
		Secret:        publicKey(v.SecretRef).String(),
		ConfigMap:     publicKey(v.ConfigMapRef).String(),
		RootSecret:    trustedRoot(v.TrustedRootSecretRef).String(),
		RootConfigMap: trustedRoot(v.TrustedRootConfigMapRef).String(),
		PredicateType: v.PredicateType,
	}
	for _, i := range v.MatchOIDCIdentity {
		out.Identities = append(out.Identities, runHashOIDC(i))
	}
	return out
}

// verifyArguments returns the flags of `worker run` that say who must have signed the
// source, except those of files.
func verifyArguments(v *modelv1alpha1.Verification) []string {
	if v == nil {
		return nil
	}
	var args []string
	if v.Key != "" {
		args = append(args, "--source-verify-key="+strings.TrimSpace(v.Key))
	}
	for _, i := range v.MatchOIDCIdentity {
		args = append(args, "--source-verify-issuer="+i.Issuer, "--source-verify-identity="+i.Subject)
	}
	if v.PredicateType != "" {
		args = append(args, "--source-verify-predicate-type="+v.PredicateType)
	}
	return args
}

// verifyFiles returns the files with what the source is verified by.
func verifyFiles(a *modelv1alpha1.Artifact) []credentialFile {
	s := OCISource(a)
	if s == nil || s.Verify == nil {
		return nil
	}
	v := s.Verify
	if isolated(a) {
		access := accessFor(a)
		return []credentialFile{
			{flag: "--source-verify-key-file", path: sourceVerifyKeyFile, file: sourceVerifyKeyFile, key: access.VerifyKey},
			{flag: "--source-trusted-root", path: sourceTrustedRootFile, file: sourceTrustedRootFile, key: access.TrustedRoot},
		}
	}
	return []credentialFile{
		{
			flag: "--source-verify-key-file", path: sourceVerifyKeyFile, file: sourceVerifyKeyFile,
			key: publicKey(v.SecretRef).secret(), configMap: publicKey(v.ConfigMapRef).configMap(),
		},
		{
			flag: "--source-trusted-root", path: sourceTrustedRootFile, file: sourceTrustedRootFile,
			key: trustedRoot(v.TrustedRootSecretRef).secret(), configMap: trustedRoot(v.TrustedRootConfigMapRef).configMap(),
		},
	}
}
