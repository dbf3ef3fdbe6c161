package artifact

import (
	"context"
	"fmt"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

var errBoom = errors.New("boom")

// failing returns calls of which the named one fails.
func failing(call string, err error) interceptor.Funcs {
	f := interceptor.Funcs{}
	switch call {
	case "get":
		f.Get = func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return err
		}
	case "list":
		f.List = func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err }
	case "create":
		f.Create = func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return err }
	case "update":
		f.Update = func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return err }
	case "delete":
		f.Delete = func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return err }
	}
	return f
}

// kept compares what is in the API server before and after.
func kept(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	got, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("%T is no object", o)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), got); err != nil {
		t.Errorf("What is not the Artifact's must stay: %v", err)
		return
	}
	ignore := cmp.Options{cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion"), cmpopts.IgnoreFields(metav1.TypeMeta{}, "Kind", "APIVersion"), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(1e9)}
	if diff := cmp.Diff(o, got, ignore); diff != "" {
		t.Errorf("What is not the Artifact's must stay as it is: -before, +after:\n%s", diff)
	}
}

func TestEnsureJob(t *testing.T) {
	name := JobName(newArtifact())
	type args struct {
		artifact *modelv1alpha1.Artifact
		calls    interceptor.Funcs
		there    []client.Object
		foreign  client.Object
	}
	type want struct {
		name string
		made bool
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
		fails  ensureWant
	}{
		"Made": {
			reason: "The object should be created if there is none.",
			want:   want{name: name, made: true},
		},
		"There": {
			reason: "An existing Job of the Artifact should be returned.",
			args:   args{there: []client.Object{newJob("running", ownedBy(testUID))}},
			want:   want{name: "running"},
		},
		"AnyRun": {
			reason: "No Job should be created while one of another run exists.",
			args: args{
				artifact: newArtifact(withRun(Run{Hash: goldenDefault, Number: 2})),
				there:    []client.Object{newJob(name, ownedBy(testUID))},
			},
			want: want{name: name},
		},
		"NextRun": {
			reason: "No Job should be created while the last one is being deleted.",
			args: args{
				artifact: newArtifact(withRun(Run{Hash: goldenDefault, Number: 2})),
				there:    []client.Object{newJob(name, ownedBy(testUID), terminating())},
			},
			fails: ensureWant{failed: true},
		},
		"StaleList": {
			reason: "A cache that is behind should not lead to a second Job.",
			args: args{
				calls: interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return nil }},
				there: []client.Object{newJob(name, ownedBy(testUID))},
			},
			want: want{name: name},
		},
		"Unlabelled": {
			reason: "A Job whose labels were removed should be found by its name.",
			args:   args{there: []client.Object{newJob(name, ownedBy(testUID), labelled(nil))}},
			want:   want{name: name},
		},
		"Foreign": {
			reason: "A Job of that name with another owner should be a conflict and be left alone.",
			args:   args{foreign: newJob(name)},
			fails:  ensureWant{failed: true, reason: outcome.WorkspaceConflict},
		},
		"OtherUID": {
			reason: "The Job of an earlier Artifact with the same name should be a conflict.",
			args:   args{foreign: newJob(name, ownedBy(otherUID))},
			fails:  ensureWant{failed: true, reason: outcome.WorkspaceConflict},
		},
		"OnlyMentioned": {
			reason: "An owner that is not the controller should not count.",
			args:   args{foreign: newJob(name, mentions(testUID))},
			fails:  ensureWant{failed: true, reason: outcome.WorkspaceConflict},
		},
		"ForeignWithLabels": {
			reason: "Labels alone should not make a Job the Artifact's.",
			args:   args{foreign: newJob("other", ownedBy(otherUID))},
			want:   want{name: name, made: true},
		},
		"Terminating": {
			reason: "A Job of the same run that is being deleted should be neither returned nor replaced.",
			args:   args{there: []client.Object{newJob(name, ownedBy(testUID), terminating())}},
			fails:  ensureWant{failed: true},
		},
		"ListFails": {
			reason: "Errors of the API server should be returned.",
			args:   args{calls: failing("list", errBoom)},
			fails:  ensureWant{failed: true, err: errBoom},
		},
		"CreateFails": {
			reason: "Errors of the API server should be returned.",
			args:   args{calls: failing("create", errBoom)},
			fails:  ensureWant{failed: true, err: errBoom},
		},
		"GetFails": {
			reason: "Errors of the API server should be returned.",
			args:   args{calls: failing("get", errBoom), foreign: newJob(name)},
			fails:  ensureWant{failed: true, err: errBoom},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := tc.args.there
			if tc.args.foreign != nil {
				objects = append(objects, tc.args.foreign)
			}
			c := newClient(t, tc.args.calls, objects...)
			a := tc.args.artifact
			if a == nil {
				a = newArtifact()
			}
			job, made, err := EnsureJob(t.Context(), c, newScheme(t), a, testKitImage, SelectorLabelsForArtifact(testName), LabelsForArtifact(testName, "v1"))
			if (err != nil) != tc.fails.failed {
				t.Fatalf("\n%s\nEnsureJob(): failed: want %t, got %v", tc.reason, tc.fails.failed, err)
			}
			checkError(t, tc.reason, err, tc.fails.err, tc.fails.reason)
			got := want{made: made}
			if job != nil {
				got.name = job.GetName()
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nEnsureJob(): -want, +got:\n%s", tc.reason, diff)
			}
			if tc.args.foreign != nil && tc.args.calls.Get == nil {
				kept(t, c, tc.args.foreign)
			}
		})
	}
}

// checkError compares an error's identity, and its reason where one is wanted.
func checkError(t *testing.T, reason string, err, want error, r outcome.Reason) {
	t.Helper()
	if want != nil && !errors.Is(err, want) {
		t.Errorf("\n%s\nerror: want %v, got %v", reason, want, err)
	}
	if r != "" && outcome.ReasonOf(err) != r {
		t.Errorf("\n%s\nreason: want %q, got %q of %v", reason, r, outcome.ReasonOf(err), err)
	}
}

// TestEnsureJobTwice checks that a second call, as after a crash, makes none.
func TestEnsureJobTwice(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	selector, labels := SelectorLabelsForArtifact(testName), LabelsForArtifact(testName, "v1")
	first, made, err := EnsureJob(t.Context(), c, newScheme(t), newArtifact(), testKitImage, selector, labels)
	if err != nil || !made {
		t.Fatalf("EnsureJob(): made %t, %v", made, err)
	}
	if !metav1.IsControlledBy(first, newArtifact()) {
		t.Errorf("The Artifact does not control its Job: %v", first.GetOwnerReferences())
	}
	if diff := cmp.Diff(Run{Hash: goldenDefault, Number: 1}, RunOf(first)); diff != "" {
		t.Errorf("RunOf(job): -want, +got:\n%s", diff)
	}

	// Another version of the provider, and a spec that has changed meanwhile.
	changed := newArtifact(withModel("Qwen/Qwen3-1.7B", "main"))
	again, made, err := EnsureJob(t.Context(), c, newScheme(t), changed, "example.com/kit:v2", selector, LabelsForArtifact(testName, "v2"))
	if err != nil || made {
		t.Fatalf("EnsureJob() again: made %t, %v", made, err)
	}
	if diff := cmp.Diff(first.GetName(), again.GetName()); diff != "" {
		t.Errorf("EnsureJob() again: -first, +second:\n%s", diff)
	}
	list := &batchv1.JobList{}
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Errorf("There are %d Jobs, want 1", len(list.Items))
	}
}

func TestFindOwnedJob(t *testing.T) {
	type args struct {
		calls interceptor.Funcs
		there []client.Object
	}
	type want struct {
		name string
		err  error
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"None":      {reason: "A missing Job should not be an error."},
		"Owned":     {reason: "The owner's Job should be found.", args: args{there: []client.Object{newJob("a", ownedBy(testUID))}}, want: want{name: "a"}},
		"Upgraded":  {reason: "A Job that another version of the provider created should be found.", args: args{there: []client.Object{newJob("a", ownedBy(testUID), labelled(LabelsForArtifact(testName, "v0")))}}, want: want{name: "a"}},
		"Foreign":   {reason: "Labels alone should not make a Job the owner's.", args: args{there: []client.Object{newJob("a"), newJob("b", ownedBy(otherUID)), newJob("c", mentions(testUID))}}},
		"Deleted":   {reason: "A Job that is being deleted should be ignored.", args: args{there: []client.Object{newJob("a", ownedBy(testUID), terminating())}}},
		"First":     {reason: "The first Job that is the owner's and not being deleted should be found.", args: args{there: []client.Object{newJob("a"), newJob("b", ownedBy(testUID), terminating()), newJob("c", ownedBy(testUID)), newJob("d", ownedBy(testUID))}}, want: want{name: "c"}},
		"Labels":    {reason: "Only Jobs with the labels should be found.", args: args{there: []client.Object{newJob("a", ownedBy(testUID), labelled(nil))}}},
		"Namespace": {reason: "Only Jobs in the namespace should be found.", args: args{there: []client.Object{newJob("a", ownedBy(testUID), inNamespace("team-b"))}}},
		"ListFails": {reason: "Errors of the API server should be returned.", args: args{calls: failing("list", errBoom)}, want: want{err: errBoom}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tc.args.calls, tc.args.there...)
			job, err := FindOwnedJob(t.Context(), c, testNamespace, SelectorLabelsForArtifact(testName), newArtifact())
			got := want{err: err}
			if job != nil {
				got.name = job.GetName()
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("\n%s\nFindOwnedJob(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestEnsureRunsOfRecreated checks that an Artifact which was deleted and recreated
// with the same name uses none of the earlier one's objects.
func TestEnsureRunsOfRecreated(t *testing.T) {
	old, scheme := newArtifact(), newScheme(t)
	c := newClient(t, interceptor.Funcs{})
	selector := SelectorLabelsForArtifact(testName)
	first, _, err := EnsureJob(t.Context(), c, scheme, old, testKitImage, selector, selector)
	if err != nil {
		t.Fatal(err)
	}
	anew := newArtifact(withUID(otherUID))
	second, made, err := EnsureJob(t.Context(), c, scheme, anew, testKitImage, selector, selector)
	if err != nil || !made {
		t.Fatalf("EnsureJob() of the new Artifact: made %t, %v", made, err)
	}
	if first.GetName() == second.GetName() {
		t.Errorf("Both Artifacts' Jobs are called %q", first.GetName())
	}
	if err := CleanupStaleJobs(t.Context(), c, anew, selector); err != nil {
		t.Fatal(err)
	}
	kept(t, c, first)
}

// deletion is how one object was deleted.
type deletion struct {
	Name        string
	Propagation metav1.DeletionPropagation

	// Precise reports whether the deletion has the object's UID as precondition.
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
			reason: "A missing Job should not be an error.",
		},
		"All": {
			reason: "All Jobs of the owner should be deleted with their Pods.",
			args:   []client.Object{newJob("a", ownedBy(testUID)), newJob("b", ownedBy(testUID))},
			want:   want{deletions: []deletion{background("a"), background("b")}},
		},
		"Terminating": {
			reason: "An object that is being deleted should not be deleted again.",
			args:   []client.Object{newJob("a", ownedBy(testUID), terminating()), newJob("b", ownedBy(testUID))},
			want:   want{deletions: []deletion{background("b")}},
		},
		"Foreign": {
			reason: "Jobs of other owners should be left alone.",
			args: []client.Object{
				newJob("a"), newJob("b", ownedBy(otherUID)), newJob("c", mentions(testUID)),
				newJob("d", ownedBy(testUID), inNamespace("team-b")), newJob("e", ownedBy(testUID), labelled(nil)),
			},
		},
		"GoneMeanwhile": {
			reason: "A Job that was deleted meanwhile should not be an error.",
			args:   []client.Object{newJob("a", ownedBy(testUID)), newJob("b", ownedBy(testUID))},
			fails:  notFound(),
			want:   want{deletions: []deletion{background("a"), background("b")}},
		},
		"DeleteFails": {
			reason: "Errors of the API server should be returned.",
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

// notFound is the API server's error for a Job that does not exist.
func notFound() error {
	return kerrors.NewNotFound(schema.GroupResource{Group: "batch", Resource: "jobs"}, "gone")
}
