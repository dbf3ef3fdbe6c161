package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestEnsureSecret(t *testing.T) {
	data := map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}
	stale := map[string][]byte{corev1.DockerConfigJsonKey: []byte("old"), "hub-token": []byte("gone")}
	cases := map[string]ensureCase{
		"Made":          {reason: "Where none is, one is made."},
		"There":         {reason: "The Artifact's Secret is used.", args: ensureArgs{there: newSecret(data, ownedBy(testUID))}},
		"Stale":         {reason: "What it holds is what was supplied, and nothing else.", args: ensureArgs{there: newSecret(stale, ownedBy(testUID))}},
		"Foreign":       {reason: "Somebody else's Secret is a conflict, and stays.", args: ensureArgs{foreign: newSecret(stale)}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"OtherUID":      {reason: "The Secret of an Artifact that was deleted and made again is not this one's.", args: ensureArgs{foreign: newSecret(stale, ownedBy(otherUID))}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"OnlyMentioned": {reason: "Being an owner is not being the controller.", args: ensureArgs{foreign: newSecret(stale, mentions(testUID))}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"Terminating":   {reason: "A Secret that is being deleted is not used.", args: ensureArgs{there: newSecret(data, ownedBy(testUID), terminating())}, want: ensureWant{failed: true}},
		"CreateFails":   {reason: "An error is passed on.", args: ensureArgs{calls: failing("create", errBoom)}, want: ensureWant{failed: true, err: errBoom}},
		"GetFails":      {reason: "An error is passed on.", args: ensureArgs{calls: failing("get", errBoom), there: newSecret(data, ownedBy(testUID))}, want: ensureWant{failed: true, err: errBoom}},
		"UpdateFails":   {reason: "An error is passed on.", args: ensureArgs{calls: failing("update", errBoom), there: newSecret(stale, ownedBy(testUID))}, want: ensureWant{failed: true, err: errBoom}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tc.args.calls, present(tc.args.there, tc.args.foreign)...)
			labels := LabelsForArtifact(testName, "v1")
			err := EnsureSecret(t.Context(), c, newScheme(t), newArtifact(), labels, data)
			checkEnsured(t, c, tc, err)
			if err != nil {
				return
			}
			s := &corev1.Secret{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(newSecret(nil)), s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(data, s.Data); diff != "" {
				t.Errorf("\n%s\ndata: -want, +got:\n%s", tc.reason, diff)
			}
			if !metav1.IsControlledBy(s, newArtifact()) {
				t.Errorf("\n%s\nThe Artifact does not control the Secret", tc.reason)
			}
		})
	}
}

// TestEnsureSecretTwice checks that what holds already is not written again.
func TestEnsureSecretTwice(t *testing.T) {
	data := map[string][]byte{"hub-token": []byte("t")}
	c := newClient(t, failing("update", errBoom))
	for range 2 {
		if err := EnsureSecret(t.Context(), c, newScheme(t), newArtifact(), LabelsForArtifact(testName, "v1"), data); err != nil {
			t.Fatal(err)
		}
	}
}
