package artifact

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const testRunNamespace = "kitops-runs"

// runningIn has an Artifact's runs execute in a namespace.
func runningIn(namespace string) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.Effective.RunNamespace = namespace }
}

// annotated adds an annotation to an Artifact.
func annotated(key, value string) artifactModifier {
	return func(a *modelv1alpha1.Artifact) {
		a.SetAnnotations(merged(a.GetAnnotations(), map[string]string{key: value}))
	}
}

// isolatedBy marks an object of a run in testRunNamespace as that of an Artifact.
func isolatedBy(uid types.UID) objectModifier {
	return func(o client.Object) {
		o.SetNamespace(testRunNamespace)
		o.SetLabels(merged(o.GetLabels(), map[string]string{LabelArtifactUID: string(uid)}))
		o.SetAnnotations(merged(o.GetAnnotations(), map[string]string{AnnotationArtifact: testName, AnnotationArtifactNamespace: testNamespace}))
	}
}

func TestRunNamespaces(t *testing.T) {
	const own, runs, former = testNamespace, testRunNamespace, "former"
	jobIn := func(ns string) artifactModifier {
		return func(a *modelv1alpha1.Artifact) {
			a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Namespace: ns, Name: "job"}
		}
	}
	run := withRun(Run{Hash: "hash", Number: 1})
	cases := map[string]struct {
		reason         string
		args           *modelv1alpha1.Artifact
		want, recorded []string
	}{
		"Own": {
			reason: "Without job.namespace, runs should be in the Artifact's namespace alone.",
			args:   newArtifact(run, jobIn(own)), want: []string{own}, recorded: []string{own},
		},
		"Isolated": {
			reason: "A run in another namespace should be found there alone.",
			args:   newArtifact(runningIn(runs), run, annotated(AnnotationRunNamespaces, runs), jobIn(runs)), want: []string{runs}, recorded: []string{runs},
		},
		"SameNamespace": {
			reason: "The Artifact's own namespace should be like no other namespace.",
			args:   newArtifact(runningIn(own), run), want: []string{own}, recorded: []string{own},
		},
		"Changed": {
			reason: "A run that began before job.namespace changed should be found where it began.",
			args:   newArtifact(runningIn(runs), run, annotated(AnnotationRunNamespaces, former)), want: []string{runs, former}, recorded: []string{former},
		},
		"Introduced": {
			reason: "A run that began before there was a job.namespace should be found in the Artifact's namespace.",
			args:   newArtifact(runningIn(runs), run), want: []string{runs, own}, recorded: []string{own},
		},
		"ConfigGone": {
			reason: "An Artifact whose config cannot be read should still know where its run is.",
			args:   newArtifact(run, annotated(AnnotationRunNamespaces, runs)), want: []string{own, runs}, recorded: []string{runs},
		},
		"Status": {
			reason: "The status should be enough if a user removed the annotation.",
			args:   newArtifact(runningIn(runs), run, jobIn(former)), want: []string{runs, own, former}, recorded: []string{own, former},
		},
		"Invalid": {
			reason: "What cannot be a namespace should be ignored, since users can write annotations and statuses.",
			args:   newArtifact(run, annotated(AnnotationRunNamespaces, "../x,,a/b"), jobIn("A")), want: []string{own}, recorded: []string{own},
		},
		"Many": {
			reason: "The number of namespaces should be bounded, since users can write annotations.",
			args:   newArtifact(run, annotated(AnnotationRunNamespaces, "a,b,c,d,e,f")), want: []string{own, "a", "b", "c", "d"}, recorded: []string{"a", "b", "c", "d"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, RunNamespaces(tc.args)); diff != "" {
				t.Errorf("\n%s\nRunNamespaces(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.recorded, RecordedNamespaces(tc.args)); diff != "" {
				t.Errorf("\n%s\nRecordedNamespaces(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRecordRunNamespace(t *testing.T) {
	run := withRun(Run{Hash: "hash", Number: 1})
	cases := map[string]struct {
		reason          string
		args            *modelv1alpha1.Artifact
		want, forgotten string
	}{
		"Own":        {reason: "An Artifact whose runs are in its namespace should have no annotation.", args: newArtifact()},
		"First":      {reason: "The first run should record its namespace alone.", args: newArtifact(runningIn("runs")), want: "runs", forgotten: "runs"},
		"Introduced": {reason: "The Artifact's namespace should stay recorded until it was looked at.", args: newArtifact(run, runningIn("runs")), want: "runs,team-a", forgotten: "runs"},
		"Changed":    {reason: "The former namespace should stay recorded until it was looked at.", args: newArtifact(run, runningIn("runs"), annotated(AnnotationRunNamespaces, "former")), want: "runs,former", forgotten: "runs"},
		"Removed":    {reason: "Without job.namespace, the former namespace should stay recorded as well.", args: newArtifact(run, annotated(AnnotationRunNamespaces, "former")), want: "team-a,former"},
		"Same":       {reason: "A further run in the same namespace should change nothing.", args: newArtifact(run, runningIn("runs"), annotated(AnnotationRunNamespaces, "runs")), want: "runs", forgotten: "runs"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			RecordRunNamespace(tc.args)
			if diff := cmp.Diff(tc.want, tc.args.GetAnnotations()[AnnotationRunNamespaces]); diff != "" {
				t.Errorf("\n%s\nRecordRunNamespace(...): -want, +got:\n%s", tc.reason, diff)
			}
			changed := ForgetOtherNamespaces(tc.args)
			if diff := cmp.Diff(tc.forgotten, tc.args.GetAnnotations()[AnnotationRunNamespaces]); diff != "" || changed != (tc.want != tc.forgotten) {
				t.Errorf("\n%s\nForgetOtherNamespaces(...): reported %t: -want, +got:\n%s", tc.reason, changed, diff)
			}
		})
	}
}

func TestOwns(t *testing.T) {
	cases := map[string]struct {
		reason  string
		args    client.Object
		want    bool
		earlier bool // Whether it is an Artifact's of this name.
	}{
		"Controlled":    {reason: "In its namespace, the Artifact should own what it controls.", args: newJob("x", ownedBy(testUID)), want: true, earlier: true},
		"Earlier":       {reason: "What an earlier Artifact of its name controls should not be its own.", args: newJob("x", ownedBy(otherUID)), earlier: true},
		"Labelled":      {reason: "In its namespace, labels and annotations should not count, since a tenant can write them.", args: newJob("x", isolatedBy(testUID), inNamespace(testNamespace))},
		"Isolated":      {reason: "In another namespace, the UID and the name should count.", args: newJob("x", isolatedBy(testUID)), want: true, earlier: true},
		"IsolatedOther": {reason: "What was made for an earlier Artifact of its name should not be its own.", args: newJob("x", isolatedBy(otherUID)), earlier: true},
		"OtherName": {
			reason: "An object with its UID and the name of another Artifact should not be its own.",
			args: newJob("x", isolatedBy(testUID), func(o client.Object) {
				o.SetAnnotations(map[string]string{AnnotationArtifact: "other", AnnotationArtifactNamespace: testNamespace})
			}),
		},
		"OtherNamespace": {
			reason: "An object of an Artifact of this name in another namespace should not be its own.",
			args: newJob("x", isolatedBy(testUID), func(o client.Object) {
				o.SetAnnotations(map[string]string{AnnotationArtifact: testName, AnnotationArtifactNamespace: "team-b"})
			}),
		},
		"Unlabelled":      {reason: "An object without a UID should not be its own.", args: newJob("x", isolatedBy(testUID), labelled(nil))},
		"ControlledThere": {reason: "An owner reference from another namespace should not count.", args: newJob("x", ownedBy(testUID), inNamespace(testRunNamespace))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Owns(newArtifact(), tc.args); got != tc.want {
				t.Errorf("\n%s\nOwns(...): want %t, got %t", tc.reason, tc.want, got)
			}
			if got := OwnsByName(newArtifact(), tc.args); got != tc.earlier {
				t.Errorf("\n%s\nOwnsByName(...): want %t, got %t", tc.reason, tc.earlier, got)
			}
		})
	}
	if Owns(newArtifact(withUID("")), newJob("x", isolatedBy(""))) {
		t.Error("An Artifact without a UID should own nothing.")
	}
}

// TestIsolatedObjects checks what is the same for all objects of a run in another
// namespace.
func TestIsolatedObjects(t *testing.T) {
	a := newArtifact(withName(strings.Repeat("n", 253)), runningIn(testRunNamespace))
	c := newClient(t, interceptor.Funcs{})
	name, err := EnsureSecret(t.Context(), c, newScheme(t), a, LabelsForArtifact(a.GetName(), "v1"), map[string][]byte{"k": []byte("v")}, "hash")
	if err != nil {
		t.Fatal(err)
	}
	a.Effective.HubToken, a.Effective.CopiedSecretName = SecretKey(CopiedSecret, "k"), name
	if err := EnsurePVC(t.Context(), c, newScheme(t), a, LabelsForArtifact(a.GetName(), "v1")); err != nil {
		t.Fatal(err)
	}
	job, made, err := EnsureJob(t.Context(), c, newScheme(t), a, testKitImage, SelectorLabelsForArtifact(a.GetName()), LabelsForArtifact(a.GetName(), "v1"))
	if err != nil || !made {
		t.Fatalf("EnsureJob(...): made %t, %v", made, err)
	}
	if err := BindSecret(t.Context(), c, a, job); err != nil {
		t.Fatal(err)
	}
	for kind, list := range map[string]client.ObjectList{"Job": &batchv1.JobList{}, "PVC": &corev1.PersistentVolumeClaimList{}, "Secret": &corev1.SecretList{}} {
		objects := objectsOf(t, c, list)
		if len(objects) != 1 {
			t.Fatalf("want one %s, got %d", kind, len(objects))
		}
		o := objects[0]
		if o.GetNamespace() != testRunNamespace || !strings.HasSuffix(o.GetName(), "-"+shortHash(string(testUID))) || len(o.GetName()) > 253 || !Owns(a, o) {
			t.Errorf("%s: want the Artifact's own in %s whose name ends in a hash of its UID, got %s/%s", kind, testRunNamespace, o.GetNamespace(), o.GetName())
		}
		if refs := o.GetOwnerReferences(); kind != "Secret" && len(refs) > 0 {
			t.Errorf("%s: want no owner in another namespace, got %v", kind, refs)
		}
		if key, ok := ArtifactOf(o); !ok || key != client.ObjectKeyFromObject(a) {
			t.Errorf("%s: ArtifactOf(...): got %s, %t", kind, key, ok)
		}
		if kind == "Secret" && !metav1.IsControlledBy(o, job) {
			t.Errorf("The run's Secret should be owned by its Job, got %v", o.GetOwnerReferences())
		}
	}
	pod := &corev1.Pod{ObjectMeta: job.Spec.Template.ObjectMeta}
	pod.SetNamespace(testRunNamespace)
	if !Owns(a, pod) {
		t.Errorf("A run's Pod should be marked like its Job, got labels %v and annotations %v", pod.GetLabels(), pod.GetAnnotations())
	}

	// All goes, and nothing of another Artifact.
	foreign := newJob("foreign", isolatedBy(otherUID), labelled(merged(SelectorLabelsForArtifact(a.GetName()), map[string]string{LabelArtifactUID: string(otherUID)})))
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func() error{
		func() error { return CleanupStaleJobs(t.Context(), c, a, SelectorLabelsForArtifact(a.GetName())) },
		func() error { return DeletePVC(t.Context(), c, a) },
		func() error { return DeleteSecrets(t.Context(), c, a) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
	}
	left := append(append(objectsOf(t, c, &batchv1.JobList{}), objectsOf(t, c, &corev1.PersistentVolumeClaimList{})...), objectsOf(t, c, &corev1.SecretList{})...)
	if len(left) != 1 || left[0].GetName() != "foreign" {
		t.Errorf("want the foreign Job alone to be left, got %d objects", len(left))
	}
}

// objectsOf returns the objects of a list in all namespaces.
func objectsOf(t *testing.T, c client.Client, list client.ObjectList) []client.Object {
	t.Helper()
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var out []client.Object
	switch l := list.(type) {
	case *batchv1.JobList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *corev1.PersistentVolumeClaimList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *corev1.SecretList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	}
	return out
}

// TestSameNames has two Artifacts of one name in two namespaces, and one after it.
func TestSameNames(t *testing.T) {
	names := map[string]bool{}
	artifacts := []*modelv1alpha1.Artifact{
		newArtifact(runningIn(testRunNamespace)),
		newArtifact(runningIn(testRunNamespace), withUID(otherUID), func(a *modelv1alpha1.Artifact) { a.SetNamespace("team-b") }),
		newArtifact(runningIn(testRunNamespace), withUID("33333333-3333-3333-3333-333333333333")),
	}
	for _, a := range artifacts {
		names[JobName(a)], names[WorkspaceName(a)] = true, true
	}
	if len(names) != 2*len(artifacts) {
		t.Errorf("names should not collide: %v", names)
	}
}

// TestIsolatedSecretIsNotReused has a Secret that goes with a Job which is gone.
func TestIsolatedSecretIsNotReused(t *testing.T) {
	a := newArtifact(runningIn(testRunNamespace))
	data := map[string][]byte{"k": []byte("v")}
	boundTo := func(uid types.UID) objectModifier {
		return func(o client.Object) {
			owner := metav1.NewControllerRef(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: JobName(a), UID: uid}}, batchv1.SchemeGroupVersion.WithKind("Job"))
			o.SetOwnerReferences([]metav1.OwnerReference{*owner})
		}
	}
	withJobUID := func(o client.Object) { o.SetUID("job") }
	cases := map[string]struct {
		reason string
		args   []client.Object
		reused bool
	}{
		"Unbound":  {reason: "A Secret that a crash kept from its Job should be used.", args: []client.Object{newSecret(data, isolatedBy(testUID))}, reused: true},
		"LiveJob":  {reason: "The Secret of the Job that is there should be used.", args: []client.Object{newSecret(data, isolatedBy(testUID), boundTo("job")), newJob(JobName(a), isolatedBy(testUID), withJobUID)}, reused: true},
		"OtherJob": {reason: "The Secret of an earlier Job should not be used, since it goes with that.", args: []client.Object{newSecret(data, isolatedBy(testUID), boundTo("gone")), newJob(JobName(a), isolatedBy(testUID), withJobUID)}},
		"NoJob":    {reason: "The Secret of a Job that is gone should not be used, since it is about to go.", args: []client.Object{newSecret(data, isolatedBy(testUID), boundTo("gone"))}},
		"Foreign":  {reason: "The Secret of another Artifact should not be used.", args: []client.Object{newSecret(data, isolatedBy(otherUID))}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := EnsureSecret(t.Context(), newClient(t, interceptor.Funcs{}, tc.args...), newScheme(t), a, nil, data, "hash")
			if reused := got == tc.args[0].GetName(); err != nil || reused != tc.reused {
				t.Errorf("\n%s\nEnsureSecret(...): reused %t, %v", tc.reason, reused, err)
			}
		})
	}
}

// TestRunNamespaceMissing checks what an Artifact says if its runs have no namespace.
func TestRunNamespaceMissing(t *testing.T) {
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	terminating := kerrors.NewForbidden(jobs, "x", errBoom)
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	cases := map[string]struct {
		reason string
		args   error
		want   outcome.Reason
		says   string
	}{
		"Missing":     {reason: "The missing namespace should be named.", args: kerrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, testRunNamespace), want: outcome.ConfigMissing, says: `Namespace "kitops-runs", in which job.namespace of the ClusterProviderConfig has runs execute, does not exist`},
		"Terminating": {reason: "A namespace that is being deleted should be named.", args: terminating, want: outcome.ConfigMissing, says: "is being deleted"},
		"Refused":     {reason: "What a policy of the namespace refuses should name the namespace.", args: kerrors.NewForbidden(jobs, "x", errBoom), want: outcome.Refused, says: `in namespace "kitops-runs"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return tc.args }})
			a := newArtifact(runningIn(testRunNamespace))
			_, _, jobErr := EnsureJob(t.Context(), c, newScheme(t), a, testKitImage, nil, nil)
			_, secretErr := EnsureSecret(t.Context(), c, newScheme(t), a, nil, nil, "")
			for what, err := range map[string]error{"EnsureJob": jobErr, "EnsurePVC": EnsurePVC(t.Context(), c, newScheme(t), a, nil), "EnsureSecret": secretErr} {
				if outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("\n%s\n%s(...): got %v", tc.reason, what, err)
				}
			}
		})
	}
}

// TestIsolatedJobMountsCopies checks that a Job in another namespace refers to no Secret
// or ConfigMap of the Artifact's.
func TestIsolatedJobMountsCopies(t *testing.T) {
	a := newArtifact(withStream(), withEverything())
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{
		Reference: "registry.example.com/a:v1", Verify: &modelv1alpha1.Verification{ConfigMapRef: &modelv1alpha1.PublicKeySelector{Name: "keys"}},
	}}
	hf := newArtifact(withStream(), withEverything())
	for name, a := range map[string]*modelv1alpha1.Artifact{"OCI": a, "HuggingFace": hf} {
		t.Run(name, func(t *testing.T) {
			copied := func(key string) *corev1.SecretKeySelector { return SecretKey(CopiedSecret, key) }
			e := &a.Effective
			e.RunNamespace = testRunNamespace
			e.CopiedCredentials, e.RegistryCA, e.HubToken, e.HubCA = copied("a"), copied("b"), copied("c"), copied("d")
			e.Source = &modelv1alpha1.SourceAccess{Credentials: copied("e"), VerifyKey: copied("f")}
			job := BuildJob(a, testKitImage, nil)
			if err := useSecret(job, "copy"); err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, v := range job.Spec.Template.Spec.Volumes {
				for _, p := range v.Projected.Sources {
					if p.ConfigMap != nil {
						got["ConfigMap "+p.ConfigMap.Name] = true
						continue
					}
					got[p.Secret.Name] = true
				}
			}
			if diff := cmp.Diff(map[string]bool{"copy": true}, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want, +got:\n%s", diff)
			}
		})
	}
}
