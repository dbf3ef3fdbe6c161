package artifact

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// changeConfig changes the life's config.
func (l *life) changeConfig(change func(*v1alpha1.ClusterProviderConfig)) {
	l.t.Helper()
	config := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: l.namespace}}
	// The controller of configs may write its status at the same time.
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := l.base.Get(l.t.Context(), client.ObjectKeyFromObject(config), config); err != nil {
			return err
		}
		change(config)
		return l.base.Update(l.t.Context(), config)
	}); err != nil {
		l.t.Fatal(err)
	}
}

// signWith has the life's config sign as this says.
func (l *life) signWith(spec *v1alpha1.AttestationSpec) {
	l.t.Helper()
	l.changeConfig(func(c *v1alpha1.ClusterProviderConfig) { c.Spec.Attestation = spec })
}

// newSigningKey returns a private key in PEM, and what it is parsed to.
func newSigningKey(t *testing.T) ([]byte, *attest.Key) {
	t.Helper()
	b, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivateKey(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, key
}

// live reconciles a few times.
func (l *life) live(n int) {
	l.t.Helper()
	for range n {
		l.reconcile()
		l.move()
	}
	if err := l.get(l.a); err != nil {
		l.t.Fatal(err)
	}
}

// expectUnsigned checks what an Artifact says whose config's key cannot be used.
func (l *life) expectUnsigned(ready corev1.ConditionStatus, reason xpv2.ConditionReason, why string) {
	l.t.Helper()
	r, s := l.a.GetCondition(xpv2.TypeReady), l.a.GetCondition(xpv2.TypeSynced)
	if r.Status != ready || r.Reason != reason || s.Status != corev1.ConditionFalse || !strings.Contains(s.Message, why) {
		l.t.Errorf("want Ready=%s with reason %s and Synced=False with %q, got Ready=%s %s %q, Synced=%s %q", ready, reason, why, r.Status, r.Reason, r.Message, s.Status, s.Message)
	}
}

// TestSigningKeyOfConfig has a config name a key of its own, which is missing at first, is
// rotated, and gets lost at each time.
func TestSigningKeyOfConfig(t *testing.T) {
	l := newLife(t, newBase(t), &fuse{})
	first, firstKey := newSigningKey(t)
	second, secondKey := newSigningKey(t)
	secret := func(private []byte, public ...*attest.Key) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cosign"}, Data: map[string][]byte{v1alpha1.DefaultSigningKey: private}}
		for _, k := range public {
			s.Data["cosign.pub"] = append(s.Data["cosign.pub"], k.PublicPEM()...)
		}
		return s
	}
	home := apiserver.Namespace(t, l.base)
	put := func(s *corev1.Secret) *corev1.Secret {
		s.SetNamespace(home)
		l.create(s)
		return s
	}
	signedBy := func(k *attest.Key) {
		t.Helper()
		if at := l.a.Status.AtProvider.Attestation; at == nil || at.KeyID != k.KeyID() {
			t.Errorf("want an attestation by %s, got %+v", k, at)
		}
	}
	const lost = "create it with the key \"cosign.key\""
	l.signWith(&v1alpha1.AttestationSpec{KeySecretRef: &v1alpha1.SigningKeySelector{SecretReference: xpv2.SecretReference{Name: "cosign", Namespace: home}}})

	l.create(l.a)
	l.live(5)
	l.expectUnsigned(corev1.ConditionFalse, xpv2.ConditionReason(outcome.ConfigMissing), lost)
	if len(l.made) > 0 {
		t.Errorf("No run should begin whose result cannot be signed, got %+v", l.made)
	}

	there := put(secret(first))
	l.reachReady()
	signedBy(firstKey)

	l.remove(there)
	l.live(2)
	if c := l.a.GetCondition(xpv2.TypeSynced); l.a.GetCondition(xpv2.TypeReady).Status != corev1.ConditionTrue || c.Status != corev1.ConditionTrue {
		t.Errorf("An Artifact that is Ready should not need the key, got %+v", l.a.Status.Conditions)
	}

	there = put(secret(first))
	l.goes = func(*batchv1.Job) string { return waits }
	l.update(l.a, revision("v2"))
	l.reach("the second run", func() string {
		if n := distinct(l.made); n < 2 {
			return fmt.Sprintf("there were %d", n)
		}
		return ""
	})
	l.remove(there)
	l.goes = func(*batchv1.Job) string { return succeeds }
	l.live(6)
	l.expectUnsigned(corev1.ConditionFalse, xpv2.ConditionReason(outcome.ConfigMissing), lost)
	if l.a.Status.AtProvider.Staged == nil {
		t.Error("What a run staged should be kept until it can be signed.")
	}

	there = put(secret(second, firstKey))
	l.reachReady()
	signedBy(secondKey)
	l.loseStatus()
	l.reachReady()
	l.update(l.a, revision("main"))
	l.reachReady()
	if got := distinct(l.made); got != 3 {
		t.Errorf("want a run for each revision, and one after the lost status, got %+v", l.made)
	}

	l.remove(there)
	l.remove(l.a)
	l.reachGone()
}

// TestSigningKeyOfTenant has a config's key be where a tenant may write Secrets.
func TestSigningKeyOfTenant(t *testing.T) {
	l := newLife(t, newBase(t), &fuse{})
	private, _ := newSigningKey(t)
	l.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cosign", Namespace: l.namespace}, Data: map[string][]byte{v1alpha1.DefaultSigningKey: private}})
	l.signWith(&v1alpha1.AttestationSpec{KeySecretRef: &v1alpha1.SigningKeySelector{SecretReference: xpv2.SecretReference{Name: "cosign", Namespace: l.namespace}}})
	l.create(l.a)
	l.live(5)
	l.expectUnsigned(corev1.ConditionFalse, xpv2.ConditionReason(outcome.NotAllowed), "move the Secret to a namespace without Artifacts")
	if len(l.made) > 0 {
		t.Errorf("want no run, got %+v", l.made)
	}
}

// checkLegacy checks how many layers there are under each legacy tag of what was pushed.
func (l *life) checkLegacy(want int) {
	l.t.Helper()
	repository := l.a.Spec.ForProvider.Target.Repository
	for _, d := range l.pushed {
		for _, suffix := range []string{attest.LegacySignatureSuffix, attest.LegacyAttestationSuffix} {
			got := 0
			_, b, err := l.registry.Manifest(l.t.Context(), repository, attest.LegacyTag(digest.Digest(d), suffix))
			if err == nil {
				var m ocispec.Manifest
				m, err = attest.ReadLegacyManifest(b)
				got = len(m.Layers)
			}
			if err != nil && !registry.IsNotFound(err) || got != want {
				l.t.Errorf("the legacy tag %s: got %d layers, %v, want %d", suffix, got, err, want)
			}
		}
	}
}

// TestLostKey has a provider lose its key, and Artifacts their status.
func TestLostKey(t *testing.T) {
	type want struct {
		ready  corev1.ConditionStatus
		reason string
		runs   int
	}
	conflict := want{ready: corev1.ConditionFalse, reason: string(outcome.TagConflict), runs: 1}
	adopted := want{ready: corev1.ConditionTrue, reason: "Available", runs: 1}
	cases := map[string]struct {
		reason    string
		adopt     string // The config's annotation.
		overwrite bool
		public    bool // Whether the public key is still trusted.
		want      want
	}{
		"Nothing":   {reason: "What an unknown key signed is foreign.", want: conflict},
		"Adopt":     {reason: "It is so if only records of trusted keys are adopted.", adopt: "true", want: conflict},
		"PublicKey": {reason: "With its public key, what the lost one signed is adopted.", adopt: "true", public: true, want: adopted},
		"AnyKey":    {reason: "The administrator may allow to adopt it nevertheless.", adopt: "any-key", want: adopted},
		"Overwrite": {reason: "The tag may be overwritten by another run.", overwrite: true, want: want{ready: corev1.ConditionTrue, reason: "Available", runs: 2}},
	}
	base := newBase(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, base, &fuse{})
			l.changeConfig(func(c *v1alpha1.ClusterProviderConfig) {
				c.SetAnnotations(map[string]string{artifact.AnnotationAdopt: tc.adopt})
				c.Spec.Policy = &v1alpha1.ClusterPolicy{Tenants: &v1alpha1.TenantPolicy{Allow: []v1alpha1.TenantField{v1alpha1.TenantFieldConflictPolicy}}}
			})
			l.create(l.a)
			l.reachReady()
			before := l.records(l.a, l.a.Status.AtProvider.Digest)

			l.keys = newKeys()
			l.keys.Cluster = testKeys.Cluster
			if tc.public {
				l.keys.Verifier = l.keys.Verifier.And(testKeys.Verifier)
			}
			l.provider = l.newProvider()
			l.live(3)
			if c := l.a.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionTrue {
				t.Errorf("An Artifact that is Ready should stay so, got %+v", c)
			}
			l.loseStatus()
			if tc.overwrite {
				l.update(l.a, func(a *modelv1alpha1.Artifact) {
					a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
				})
			}
			l.live(8)
			c := l.a.GetCondition(xpv2.TypeReady)
			if got := (want{ready: c.Status, reason: string(c.Reason), runs: len(l.made)}); got != tc.want {
				t.Errorf("\n%s\nwant %+v, got %+v: %s", tc.reason, tc.want, got, c.Message)
			}
			found, _, err := l.place(l.keys, l.a.Spec.ForProvider.Target.Repository).Of(t.Context(), l.registry, digest.Digest(l.pushed[artifact.RunHash(l.a)]), ownerOf(l.a))
			if err != nil || (len(found) == 1) != (tc.want.ready == corev1.ConditionTrue) {
				t.Errorf("\n%s\nwant a record that counts of what is Ready, got %+v, %v", tc.reason, found, err)
			}
			if left := l.records(l.a, l.pushed[artifact.RunHash(l.a)]); tc.adopt == "any-key" && len(left) != 0 {
				t.Errorf("\n%s\nThe record of the lost key should be replaced, got %+v, before %+v", tc.reason, left, before)
			}
		})
	}
}
