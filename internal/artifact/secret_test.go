package artifact

import (
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestEnsureSecret(t *testing.T) {
	data := map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}
	stale := map[string][]byte{corev1.DockerConfigJsonKey: []byte("old"), "hub-token": []byte("gone")}
	cases := map[string]struct {
		ensureCase

		found bool // The one that is there is used.
	}{
		"Made":          {ensureCase: ensureCase{reason: "A Secret should be created if there is none."}},
		"There":         {ensureCase: ensureCase{reason: "An existing Secret of the Artifact should be used, as after a crash.", args: ensureArgs{there: newSecret(data, ownedBy(testUID))}}, found: true},
		"Stale":         {ensureCase: ensureCase{reason: "The Secret's data should be replaced by the supplied data.", args: ensureArgs{there: newSecret(stale, ownedBy(testUID))}}, found: true},
		"Foreign":       {ensureCase: ensureCase{reason: "A Secret without an owner should stay.", args: ensureArgs{foreign: newSecret(stale)}}},
		"OtherUID":      {ensureCase: ensureCase{reason: "The Secret of an earlier Artifact with the same name should be ignored.", args: ensureArgs{foreign: newSecret(stale, ownedBy(otherUID))}}},
		"OnlyMentioned": {ensureCase: ensureCase{reason: "An owner that is not the controller should not count.", args: ensureArgs{foreign: newSecret(stale, mentions(testUID))}}},
		"OtherType":     {ensureCase: ensureCase{reason: "A connection Secret of the Artifact should not be used.", args: ensureArgs{foreign: newSecret(stale, ownedBy(testUID), ofType("connection.crossplane.io/v1alpha1"))}}},
		"Unlabelled":    {ensureCase: ensureCase{reason: "Type and owner alone are not enough.", args: ensureArgs{foreign: newSecret(stale, ownedBy(testUID), labelled(nil))}}},
		"Terminating":   {ensureCase: ensureCase{reason: "A Secret that is being deleted should not be used.", args: ensureArgs{there: newSecret(stale, ownedBy(testUID), terminating())}}},
		"CreateFails":   {ensureCase: ensureCase{reason: "Any error encountered while creating the Secret should be returned.", args: ensureArgs{calls: failing("create", errBoom)}, want: ensureWant{failed: true, err: errBoom}}},
		"ListFails":     {ensureCase: ensureCase{reason: "Any error encountered while listing Secrets should be returned.", args: ensureArgs{calls: failing("list", errBoom)}, want: ensureWant{failed: true, err: errBoom}}},
		"UpdateFails":   {ensureCase: ensureCase{reason: "Any error encountered while updating the Secret should be returned.", args: ensureArgs{calls: failing("update", errBoom), there: newSecret(stale, ownedBy(testUID))}, want: ensureWant{failed: true, err: errBoom}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tc.args.calls, present(tc.args.there, tc.args.foreign)...)
			got, err := EnsureSecret(t.Context(), c, newScheme(t), newArtifact(), LabelsForArtifact(testName, "v1"), data, "hash")
			checkEnsured(t, c, tc.ensureCase, err)
			if err != nil {
				return
			}
			if found := got == newSecret(nil).GetName(); found != tc.found {
				t.Errorf("\n%s\nEnsureSecret(...): got %q", tc.reason, got)
			}
			s := &corev1.Secret{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: testNamespace, Name: got}, s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(data, s.Data); diff != "" {
				t.Errorf("\n%s\ndata: -want, +got:\n%s", tc.reason, diff)
			}
			if !metav1.IsControlledBy(s, newArtifact()) || !IsCredentials(s) {
				t.Errorf("\n%s\nThe Secret is not known as the provider's: %+v", tc.reason, s.ObjectMeta)
			}
		})
	}
}

// TestEnsureSecretTwice checks that a Secret which is right is not written
// again, and that a lost answer leaves one Secret.
func TestEnsureSecretTwice(t *testing.T) {
	data := map[string][]byte{"hub-token": []byte("t")}
	c := newClient(t, failing("update", errBoom))
	names := map[string]bool{}
	for range 2 {
		name, err := EnsureSecret(t.Context(), c, newScheme(t), newArtifact(), LabelsForArtifact(testName, "v1"), data, "hash")
		if err != nil {
			t.Fatal(err)
		}
		names[name] = true
	}
	if len(names) != 1 {
		t.Errorf("EnsureSecret(...): got Secrets %v, want one", names)
	}
}

// TestRenewSecret checks that a run's Secret gets values that have changed, and that
// nothing else is touched.
func TestRenewSecret(t *testing.T) {
	old := map[string][]byte{corev1.DockerConfigJsonKey: []byte("old"), "hub-ca.crt": []byte("kept")}
	renewed := map[string][]byte{corev1.DockerConfigJsonKey: []byte("new")}
	both := map[string][]byte{corev1.DockerConfigJsonKey: []byte("new"), "hub-ca.crt": []byte("kept")}
	name := newSecret(nil).GetName()
	cases := map[string]struct {
		reason string
		there  *corev1.Secret
		calls  interceptor.Funcs
		name   string
		want   map[string][]byte
		err    error
	}{
		"Changed":     {reason: "Changed values should be written, and those that the Pod mounts should stay.", there: newSecret(old, ownedBy(testUID)), name: name, want: both},
		"Same":        {reason: "What is the same should not be written again.", there: newSecret(both, ownedBy(testUID), copiedWith("hash")), calls: failing("update", errBoom), name: name, want: both},
		"OtherHash":   {reason: "The hash of other versions should be written though the values are the same.", there: newSecret(both, ownedBy(testUID), copiedWith("earlier")), name: name, want: both},
		"OtherName":   {reason: "Only the Secret of the run's Job should be written.", there: newSecret(old, ownedBy(testUID)), name: "other", want: old},
		"OtherUID":    {reason: "The Secret of an earlier Artifact with the same name should stay.", there: newSecret(old, ownedBy(otherUID)), name: name, want: old},
		"Terminating": {reason: "A Secret that is being deleted should stay as it is.", there: newSecret(old, ownedBy(testUID), terminating()), name: name, want: old},
		"UpdateFails": {reason: "Any error encountered while updating the Secret should be returned.", there: newSecret(old, ownedBy(testUID)), calls: failing("update", errBoom), name: name, want: old, err: errBoom},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			c := newClient(t, tc.calls, tc.there)
			if err := RenewSecret(t.Context(), c, newArtifact(), tc.name, renewed, "hash"); !errors.Is(err, tc.err) {
				t.Errorf("\n%s\nRenewSecret(...): want %v, got %v", tc.reason, tc.err, err)
			}
			got := &corev1.Secret{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: testNamespace, Name: name}, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Data); diff != "" {
				t.Errorf("\n%s\ndata: -want, +got:\n%s", tc.reason, diff)
			}
			if string(tc.want[corev1.DockerConfigJsonKey]) == "new" && got.GetAnnotations()[AnnotationCopyHash] != "hash" {
				t.Errorf("\n%s\nhash: got %q", tc.reason, got.GetAnnotations()[AnnotationCopyHash])
			}
		})
	}
	if err := RenewSecret(t.Context(), newClient(t, interceptor.Funcs{}), newArtifact(), name, renewed, "hash"); err != nil {
		t.Errorf("RenewSecret(...): want no error for a Secret that is gone, got %v", err)
	}
}

// copiedWith annotates a Secret with the hash of what it was copied from.
func copiedWith(hash string) objectModifier {
	return func(o client.Object) { o.SetAnnotations(map[string]string{AnnotationCopyHash: hash}) }
}

func TestSecretName(t *testing.T) {
	for _, artifactName := range []string{"a", testName, strings.Repeat("n", validation.DNS1123SubdomainMaxLength)} {
		one, other := secretName(artifactName), secretName(artifactName)
		if one == other {
			t.Errorf("secretName(%q): got %q twice", artifactName, one)
		}
		if why := validation.IsDNS1123Subdomain(one); len(why) > 0 {
			t.Errorf("secretName(%q): got %q, which is no name: %v", artifactName, one, why)
		}
	}
	if len(validation.IsDNS1123Subdomain(CopiedSecret)) == 0 {
		t.Errorf("%q must be the name of no Secret", CopiedSecret)
	}
}

func TestIsCredentials(t *testing.T) {
	ours := SelectorLabelsForArtifact(testName)
	cases := map[string]struct {
		reason string
		args   *corev1.Secret
		want   bool
	}{
		"Made":       {reason: "The provider's own Secret should be recognised.", args: newSecret(nil, ownedBy(testUID)), want: true},
		"Type":       {reason: "The type alone should be enough, since it is immutable.", args: newSecret(nil, labelled(nil)), want: true},
		"OtherType":  {reason: "Labels and owner should be enough without the type.", args: newSecret(nil, ofType(corev1.SecretTypeOpaque), ownedBy(otherUID)), want: true},
		"Labelled":   {reason: "Labels without an owner should not be enough.", args: newSecret(nil, ofType(corev1.SecretTypeOpaque))},
		"Connection": {reason: "A connection Secret of the Artifact should not count.", args: newSecret(nil, ofType("connection.crossplane.io/v1alpha1"), labelled(nil), ownedBy(testUID))},
		"OtherKind": {reason: "A Secret of an owner of another kind should not count.", args: newSecret(nil, ofType(corev1.SecretTypeOpaque), labelled(ours), func(o client.Object) {
			o.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(newPVC(), corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))})
		})},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsCredentials(tc.args); got != tc.want {
				t.Errorf("\n%s\nIsCredentials(...): got %t", tc.reason, got)
			}
		})
	}
}

// TestJobUsesCopiedSecret checks that a Job refers to the Secret with copied
// credentials and is annotated with it.
func TestJobUsesCopiedSecret(t *testing.T) {
	copied := modelv1alpha1.Effective{
		RegistryCredentials: SecretKey(CopiedSecret, corev1.DockerConfigJsonKey),
		RegistryCA:          SecretKey("theirs", KeyCA),
		HubToken:            SecretKey(CopiedSecret, "hub-token"),
	}
	named := copied
	named.CopiedSecretName = "made"
	cases := map[string]struct {
		reason string
		args   modelv1alpha1.Effective
		want   []string // Of credentials, authority and token.
		fails  bool
	}{
		"Copied":  {reason: "The placeholder should be replaced everywhere.", args: named, want: []string{"made", "theirs", "made"}},
		"None":    {reason: "A run without copied credentials should refer to no Secret.", args: modelv1alpha1.Effective{RegistryCA: SecretKey("theirs", KeyCA)}, want: []string{"", "theirs", ""}},
		"Missing": {reason: "A missing Secret should be an error.", args: copied, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, interceptor.Funcs{})
			job, _, err := EnsureJob(t.Context(), c, newScheme(t), newArtifact(withEffective(tc.args)), testKitImage, SelectorLabelsForArtifact(testName), LabelsForArtifact(testName, "v1"))
			if (err != nil) != tc.fails {
				t.Fatalf("\n%s\nEnsureJob(...): %v", tc.reason, err)
			}
			if err != nil {
				return
			}
			got := mountedIn(t, job.Spec.Template.Spec)
			of := func(key string) string { name, _, _ := strings.Cut(key, "/"); return name }
			names := []string{of(got.Files["/credentials/docker/config.json"]), of(got.Files["/credentials/registry-ca.crt"]), of(got.Files["/credentials/hub-token"])}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("\n%s\nSecrets: -want, +got:\n%s", tc.reason, diff)
			}
			if got := job.GetAnnotations()[AnnotationCredentials]; got != tc.args.CopiedSecretName {
				t.Errorf("\n%s\nannotation: got %q", tc.reason, got)
			}
		})
	}
}
