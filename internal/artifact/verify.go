package artifact

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// DefaultPublicKey is the default key of public keys in a Secret or a ConfigMap.
const DefaultPublicKey = "cosign.pub"

// hashedVerify returns the part of who must have signed a source that is in the run
// hash; nil if none is required.
func hashedVerify(v *modelv1alpha1.Verification) *runHashVerify {
	if v == nil {
		return nil
	}
	named := func(s *modelv1alpha1.PublicKeySelector) string {
		if s == nil {
			return ""
		}
		return s.Name + "/" + cmp.Or(s.Key, DefaultPublicKey)
	}
	return &runHashVerify{
		Key:           strings.TrimSpace(v.Key),
		Secret:        named(v.SecretRef),
		ConfigMap:     named(v.ConfigMapRef),
		PredicateType: v.PredicateType,
	}
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
	if v.PredicateType != "" {
		args = append(args, "--source-verify-predicate-type="+v.PredicateType)
	}
	return args
}

// verificationOf returns who must have signed the Artifact's source; empty if none is
// required.
func verificationOf(a *modelv1alpha1.Artifact) modelv1alpha1.Verification {
	if s := OCISource(a); s != nil && s.Verify != nil {
		return *s.Verify
	}
	return modelv1alpha1.Verification{}
}

// verifySecret selects the public keys in a Secret; nil for none.
func verifySecret(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	if r := verificationOf(a).SecretRef; r != nil {
		return SecretKey(r.Name, cmp.Or(r.Key, DefaultPublicKey))
	}
	return nil
}

// verifyConfigMap selects the public keys in a ConfigMap; nil for none.
func verifyConfigMap(a *modelv1alpha1.Artifact) *corev1.ConfigMapKeySelector {
	if r := verificationOf(a).ConfigMapRef; r != nil {
		return &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: r.Name}, Key: cmp.Or(r.Key, DefaultPublicKey)}
	}
	return nil
}
