package artifact

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// deletion is how one object was deleted.
type deletion struct {
	Name        string
	Propagation metav1.DeletionPropagation

	// Precise says that no other object of the same name could be meant.
	Precise bool
}

// recorded returns calls that add each deletion to the list, and then fail
// with err if there is one.
func recorded(list *[]deletion, err error) interceptor.Funcs {
	return interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		options := (&client.DeleteOptions{}).ApplyOptions(opts)
		d := deletion{Name: o.GetName()}
		if options.PropagationPolicy != nil {
			d.Propagation = *options.PropagationPolicy
		}
		if p := options.Preconditions; p != nil && p.UID != nil {
			d.Precise = *p.UID == o.GetUID()
		}
		*list = append(*list, d)
		if err != nil {
			return err
		}
		return c.Delete(ctx, o, opts...)
	}}
}

func TestCleanupStaleJobs(t *testing.T) {
	type want struct {
		err       error
		deletions []deletion
	}
	background := func(name string) deletion {
		return deletion{Name: name, Propagation: metav1.DeletePropagationBackground, Precise: true}
	}
	cases := map[string]struct {
		reason string
		args   []client.Object
		fails  error
		want   want
	}{
		"None": {
			reason: "There being none is no error.",
		},
		"All": {
			reason: "All of the owner's Jobs go, and their Pods with them.",
			args:   []client.Object{newJob("a", ownedBy(testUID)), newJob("b", ownedBy(testUID))},
			want:   want{deletions: []deletion{background("a"), background("b")}},
		},
		"Terminating": {
			reason: "What is being deleted is not deleted again.",
			args:   []client.Object{newJob("a", ownedBy(testUID), terminating()), newJob("b", ownedBy(testUID))},
			want:   want{deletions: []deletion{background("b")}},
		},
		"Foreign": {
			reason: "What is not the owner's stays.",
			args: []client.Object{
				newJob("a"), newJob("b", ownedBy(otherUID)), newJob("c", mentions(testUID)),
				newJob("d", ownedBy(testUID), inNamespace("team-b")), newJob("e", ownedBy(testUID), labelled(nil)),
			},
		},
		"GoneMeanwhile": {
			reason: "A Job that somebody else deleted is no error.",
			args:   []client.Object{newJob("a", ownedBy(testUID)), newJob("b", ownedBy(testUID))},
			fails:  notFound(),
			want:   want{deletions: []deletion{background("a"), background("b")}},
		},
		"DeleteFails": {
			reason: "An error is passed on.",
			args:   []client.Object{newJob("a", ownedBy(testUID))},
			fails:  errBoom,
			want:   want{err: errBoom, deletions: []deletion{background("a")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{}
			for i, o := range tc.args {
				o.SetUID(types.UID(fmt.Sprintf("%s-%d", otherUID, i)))
			}
			c := newClient(t, recorded(&got.deletions, tc.fails), tc.args...)
			got.err = CleanupStaleJobs(t.Context(), c, newArtifact(), SelectorLabelsForArtifact(testName))
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("\n%s\nCleanupStaleJobs(): -want, +got:\n%s", tc.reason, diff)
			}
			if len(tc.want.deletions) == 0 {
				for _, o := range tc.args {
					kept(t, c, o)
				}
			}
		})
	}
}

func TestCleanupStaleJobsListFails(t *testing.T) {
	c := newClient(t, failing("list", errBoom))
	err := CleanupStaleJobs(t.Context(), c, newArtifact(), SelectorLabelsForArtifact(testName))
	checkError(t, "An error is passed on.", err, errBoom, "")
}

// notFound is what the API server says of a Job that is gone.
func notFound() error {
	return kerrors.NewNotFound(schema.GroupResource{Group: "batch", Resource: "jobs"}, "gone")
}
