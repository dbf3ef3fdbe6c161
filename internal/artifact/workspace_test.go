package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestBuildPVC(t *testing.T) {
	type args struct{ config, artifact *v1alpha1.StorageSettings }
	type want struct {
		size  string
		class *string
	}
	size := func(q string) *resource.Quantity { return ptr.To(resource.MustParse(q)) }
	config := &v1alpha1.StorageSettings{Size: size("100Gi"), StorageClassName: ptr.To("slow")}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Default":     {reason: "Size and class should default to 50Gi of the cluster's default class.", want: want{size: "50Gi"}},
		"Config":      {reason: "The ProviderConfig's settings should be used if the Artifact has none.", args: args{config: config}, want: want{size: "100Gi", class: ptr.To("slow")}},
		"Artifact":    {reason: "The Artifact's settings should be used if the ProviderConfig has none.", args: args{artifact: &v1alpha1.StorageSettings{Size: size("1Gi"), StorageClassName: ptr.To("fast")}}, want: want{size: "1Gi", class: ptr.To("fast")}},
		"OnlySize":    {reason: "Each field should be resolved by itself.", args: args{config: config, artifact: &v1alpha1.StorageSettings{Size: size("1Gi")}}, want: want{size: "1Gi", class: ptr.To("slow")}},
		"OnlyClass":   {reason: "Each field should be resolved by itself.", args: args{config: config, artifact: &v1alpha1.StorageSettings{StorageClassName: ptr.To("fast")}}, want: want{size: "100Gi", class: ptr.To("fast")}},
		"NoClass":     {reason: "An empty class should be kept, which means no class.", args: args{config: config, artifact: &v1alpha1.StorageSettings{StorageClassName: ptr.To("")}}, want: want{size: "100Gi", class: ptr.To("")}},
		"ClassAlone":  {reason: "The default size should be used if the ProviderConfig sets none.", args: args{config: &v1alpha1.StorageSettings{StorageClassName: ptr.To("slow")}}, want: want{size: "50Gi", class: ptr.To("slow")}},
		"EmptyFields": {reason: "An unset field should replace nothing.", args: args{config: config, artifact: &v1alpha1.StorageSettings{}}, want: want{size: "100Gi", class: ptr.To("slow")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			labels := LabelsForArtifact(testName, "v1")
			a := newArtifact(withEffective(modelv1alpha1.Effective{Storage: tc.args.config}),
				withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Storage = tc.args.artifact }))
			pvc := BuildPVC(a, labels)
			got := want{size: pvc.Spec.Resources.Requests.Storage().String(), class: pvc.Spec.StorageClassName}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nBuildPVC(): -want, +got:\n%s", tc.reason, diff)
			}
			meta := metav1.ObjectMeta{
				Name:        "qwen3-workspace",
				Namespace:   testNamespace,
				Labels:      labels,
				Annotations: map[string]string{AnnotationRunHash: goldenDefault},
			}
			if diff := cmp.Diff(meta, pvc.ObjectMeta, ignoreBuildHashes()); diff != "" {
				t.Errorf("\n%s\nmetadata: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff([]corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, pvc.Spec.AccessModes); diff != "" {
				t.Errorf("\n%s\naccess modes: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBuildPVCKeepsItsInput checks that a claim that is changed afterwards
// changes neither its Artifact nor the next claim.
func TestBuildPVCKeepsItsInput(t *testing.T) {
	labels := map[string]string{"a": "b"}
	a := newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("fast")}
	}))
	before := a.DeepCopy()
	first := BuildPVC(a, labels)
	first.Labels["scribble"] = "scribble"
	*first.Spec.StorageClassName = "scribble"
	first.Spec.Resources.Requests.Storage().Add(resource.MustParse("1Gi"))
	if diff := cmp.Diff(before, a); diff != "" {
		t.Errorf("The Artifact: -before, +after:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "b"}, labels); diff != "" {
		t.Errorf("The labels: -before, +after:\n%s", diff)
	}
	if got := BuildPVC(a, labels).Spec.Resources.Requests.Storage().String(); got != "50Gi" {
		t.Errorf("The next claim's size: want 50Gi, got %s", got)
	}
}

// An ensureCase is a case of a function that creates an object unless it exists.
type ensureCase struct {
	reason string
	args   ensureArgs
	want   ensureWant
}

type ensureArgs struct {
	calls   interceptor.Funcs
	there   client.Object
	foreign client.Object
}

type ensureWant struct {
	err    error
	failed bool
	reason outcome.Reason
}

func TestEnsurePVC(t *testing.T) {
	cases := map[string]ensureCase{
		"Made":          {reason: "The object should be created if there is none."},
		"There":         {reason: "An existing claim of the Artifact should be used.", args: ensureArgs{there: newPVC(ownedBy(testUID))}},
		"Foreign":       {reason: "A claim with another owner should be a conflict and be left alone.", args: ensureArgs{foreign: newPVC()}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"OtherUID":      {reason: "The claim of an earlier Artifact with the same name should be a conflict.", args: ensureArgs{foreign: newPVC(ownedBy(otherUID))}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"OnlyMentioned": {reason: "An owner that is not the controller should not count.", args: ensureArgs{foreign: newPVC(mentions(testUID))}, want: ensureWant{failed: true, reason: outcome.WorkspaceConflict}},
		"Terminating":   {reason: "A claim that is being deleted should be an error.", args: ensureArgs{there: newPVC(ownedBy(testUID), terminating())}, want: ensureWant{failed: true}},
		"CreateFails":   {reason: "Errors of the API server should be returned.", args: ensureArgs{calls: failing("create", errBoom)}, want: ensureWant{failed: true, err: errBoom}},
		"GetFails":      {reason: "Errors of the API server should be returned.", args: ensureArgs{calls: failing("get", errBoom), there: newPVC(ownedBy(testUID))}, want: ensureWant{failed: true, err: errBoom}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tc.args.calls, present(tc.args.there, tc.args.foreign)...)
			err := EnsurePVC(t.Context(), c, newScheme(t), newArtifact(), LabelsForArtifact(testName, "v1"))
			checkEnsured(t, c, tc, err)
			if err != nil {
				return
			}
			pvc := &corev1.PersistentVolumeClaim{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(newPVC()), pvc); err != nil {
				t.Fatal(err)
			}
			if !metav1.IsControlledBy(pvc, newArtifact()) {
				t.Errorf("\n%s\nThe Artifact does not control the claim", tc.reason)
			}
		})
	}
}

// TestEnsurePVCTwice checks that a second call changes nothing.
func TestEnsurePVCTwice(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	versions := []string{}
	for _, size := range []string{"1Gi", "2Gi"} {
		a := newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Storage = &v1alpha1.StorageSettings{Size: ptr.To(resource.MustParse(size))}
		}))
		if err := EnsurePVC(t.Context(), c, newScheme(t), a, LabelsForArtifact(testName, size)); err != nil {
			t.Fatal(err)
		}
		pvc := &corev1.PersistentVolumeClaim{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(newPVC()), pvc); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, pvc.GetResourceVersion())
	}
	if versions[0] != versions[1] {
		t.Errorf("The claim has changed: resource versions %q", versions)
	}
}

// present returns the objects that are not nil.
func present(objects ...client.Object) []client.Object {
	out := []client.Object{}
	for _, o := range objects {
		if o != nil {
			out = append(out, o)
		}
	}
	return out
}

func checkEnsured(t *testing.T, c client.Client, tc ensureCase, err error) {
	t.Helper()
	if (err != nil) != tc.want.failed {
		t.Fatalf("\n%s\nfailed: want %t, got %v", tc.reason, tc.want.failed, err)
	}
	checkError(t, tc.reason, err, tc.want.err, tc.want.reason)
	if tc.args.foreign != nil {
		kept(t, c, tc.args.foreign)
	}
}

func TestDelete(t *testing.T) {
	type object struct {
		make   func(modify ...objectModifier) client.Object
		delete func(c client.Client, a *modelv1alpha1.Artifact) error
	}
	type args struct {
		modify []objectModifier
		absent bool
		calls  func(*[]deletion) interceptor.Funcs
	}
	type want struct {
		err       error
		deletions int
	}
	kinds := map[string]object{
		"PVC": {
			make:   func(m ...objectModifier) client.Object { return newPVC(m...) },
			delete: func(c client.Client, a *modelv1alpha1.Artifact) error { return DeletePVC(t.Context(), c, a) },
		},
		"Secret": {
			make:   func(m ...objectModifier) client.Object { return newSecret(nil, m...) },
			delete: func(c client.Client, a *modelv1alpha1.Artifact) error { return DeleteSecrets(t.Context(), c, a) },
		},
	}
	record := func(err error) func(*[]deletion) interceptor.Funcs {
		return func(list *[]deletion) interceptor.Funcs { return recorded(list, err) }
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Owned":         {reason: "The Artifact's own object should be deleted.", args: args{modify: []objectModifier{ownedBy(testUID)}, calls: record(nil)}, want: want{deletions: 1}},
		"Absent":        {reason: "A missing object should not be an error.", args: args{absent: true, calls: record(nil)}},
		"Foreign":       {reason: "An object of another owner should be left alone.", args: args{calls: record(nil)}},
		"OtherUID":      {reason: "An object of an earlier Artifact with the same name should be left alone.", args: args{modify: []objectModifier{ownedBy(otherUID)}, calls: record(nil)}},
		"OnlyMentioned": {reason: "An owner that is not the controller should not count.", args: args{modify: []objectModifier{mentions(testUID)}, calls: record(nil)}},
		"Terminating":   {reason: "An object that is being deleted should not be deleted again.", args: args{modify: []objectModifier{ownedBy(testUID), terminating()}, calls: record(nil)}},
		"GoneMeanwhile": {reason: "An object that was deleted meanwhile should not be an error.", args: args{modify: []objectModifier{ownedBy(testUID)}, calls: record(notFound())}, want: want{deletions: 1}},
		"DeleteFails":   {reason: "Errors of the API server should be returned.", args: args{modify: []objectModifier{ownedBy(testUID)}, calls: record(errBoom)}, want: want{err: errBoom, deletions: 1}},
		"ReadFails": {reason: "Errors of the API server should be returned.", args: args{modify: []objectModifier{ownedBy(testUID)}, calls: func(*[]deletion) interceptor.Funcs {
			f := failing("get", errBoom)
			f.List = failing("list", errBoom).List
			return f
		}}, want: want{err: errBoom}},
	}
	for kind, k := range kinds {
		for name, tc := range cases {
			t.Run(kind+name, func(t *testing.T) {
				var deletions []deletion
				var objects []client.Object
				o := k.make(tc.args.modify...)
				o.SetUID("33333333-3333-3333-3333-333333333333")
				if !tc.args.absent {
					objects = append(objects, o)
				}
				err := k.delete(newClient(t, tc.args.calls(&deletions), objects...), newArtifact())
				got := want{err: err, deletions: len(deletions)}
				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateErrors()); diff != "" {
					t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
				}
				for _, d := range deletions {
					if !d.Precise {
						t.Errorf("\n%s\nA stale cache could make this delete somebody else's object of the name: no precondition on the UID", tc.reason)
					}
				}
			})
		}
	}
}

func TestFitsWorkspace(t *testing.T) {
	with := func(change func(*modelv1alpha1.Artifact)) *modelv1alpha1.Artifact {
		a := &modelv1alpha1.Artifact{}
		a.Spec.ForProvider.Storage = &v1alpha1.StorageSettings{Size: ptr.To(resource.MustParse("10Gi")), StorageClassName: ptr.To("fast")}
		change(a)
		return a
	}
	same := func(*modelv1alpha1.Artifact) {}
	cases := map[string]struct {
		reason string
		made   *modelv1alpha1.Artifact
		now    *modelv1alpha1.Artifact
		change func(*corev1.PersistentVolumeClaim)
		want   bool
	}{
		"Same": {reason: "A workspace should fit if nothing has changed.", made: with(same), now: with(same), want: true},
		"Default": {
			reason: "A class that the API server defaulted should not matter.",
			made:   &modelv1alpha1.Artifact{},
			now:    &modelv1alpha1.Artifact{},
			change: func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = ptr.To("standard") },
			want:   true,
		},
		"Admission": {
			reason: "A class that an admission policy set should not matter.",
			made:   with(same),
			now:    with(same),
			change: func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = ptr.To("encrypted") },
			want:   true,
		},
		"Expanded": {
			reason: "A claim that was expanded manually should fit.",
			made:   with(same),
			now:    with(same),
			change: func(p *corev1.PersistentVolumeClaim) {
				p.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("40Gi")
			},
			want: true,
		},
		"Size": {
			reason: "A workspace of another size should not fit.",
			made:   with(same),
			now: with(func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Storage.Size = ptr.To(resource.MustParse("20Gi"))
			}),
		},
		"Class": {
			reason: "A workspace of another class should not fit.",
			made:   with(same),
			now:    with(func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Storage.StorageClassName = ptr.To("slow") }),
		},
		"Source": {
			reason: "A workspace of another run hash should not fit.",
			made:   with(same),
			now: with(func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source = &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/other"}}
			}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pvc := BuildPVC(tc.made, nil)
			if tc.change != nil {
				tc.change(pvc)
			}
			if diff := cmp.Diff(tc.want, FitsWorkspace(tc.now, pvc)); diff != "" {
				t.Errorf("\n%s\nFitsWorkspace(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCheckSourceClaim(t *testing.T) {
	claim := func(change func(*corev1.PersistentVolumeClaim)) []client.Object {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "tuned"}}
		change(pvc)
		return []client.Object{pvc}
	}
	controlledBy := func(version, kind string) func(*corev1.PersistentVolumeClaim) {
		return func(pvc *corev1.PersistentVolumeClaim) {
			pvc.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: "other", UID: "other", Controller: ptr.To(true)}}
		}
	}
	cases := map[string]struct {
		reason string
		name   string
		there  []client.Object
		want   outcome.Reason
	}{
		"Absent":      {reason: "A claim that does not exist may be created later.", name: "tuned"},
		"Later":       {reason: "A claim that could become the workspace of another Artifact should be refused.", name: PVCName("other"), want: outcome.Unsupported},
		"Own":         {reason: "A claim that no Artifact owns should be accepted.", name: "tuned", there: claim(func(*corev1.PersistentVolumeClaim) {})},
		"StatefulSet": {reason: "A claim that something else owns should be accepted.", name: "tuned", there: claim(controlledBy("apps/v1", "StatefulSet"))},
		"Workspace":   {reason: "The Artifact's own workspace should be refused, even before it exists.", name: PVCName(testName), want: outcome.Unsupported},
		"Other":       {reason: "Another Artifact's workspace should be refused.", name: "tuned", there: claim(controlledBy(modelv1alpha1.SchemeGroupVersion.String(), "Artifact")), want: outcome.Unsupported},
		"Isolated": {reason: "A workspace of another namespace's Artifact should be refused.", name: "tuned", want: outcome.Unsupported,
			there: claim(func(pvc *corev1.PersistentVolumeClaim) { pvc.Labels = map[string]string{LabelArtifactUID: "other"} })},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source = &modelv1alpha1.Source{PersistentVolumeClaim: &modelv1alpha1.PersistentVolumeClaimSource{ClaimName: tc.name}}
			}))
			var got outcome.Reason
			err := CheckSourceClaim(t.Context(), newClient(t, interceptor.Funcs{}, tc.there...), a)
			if err != nil {
				got = outcome.ReasonOf(err)
			}
			if got != tc.want {
				t.Errorf("\n%s\nCheckSourceClaim(...): want reason %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
