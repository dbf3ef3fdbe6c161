package artifact

import (
	"cmp"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// maxRunNamespaces bounds how many namespaces of AnnotationRunNamespaces are looked
// at, since users can write the annotation.
const maxRunNamespaces = 4

// RunNamespace returns the namespace in which the Artifact's next run executes: that of
// job.namespace of its ClusterProviderConfig, else its own.
func RunNamespace(ma *modelv1alpha1.Artifact) string {
	return cmp.Or(ma.Effective.RunNamespace, ma.GetNamespace())
}

// In returns a shallow copy of the Artifact whose runs execute in this namespace, for
// the functions that look for objects of runs.
func In(ma *modelv1alpha1.Artifact, namespace string) *modelv1alpha1.Artifact {
	out := *ma
	out.Effective.RunNamespace = namespace
	return &out
}

// RunNamespaces returns all namespaces in which objects of the Artifact's runs may be.
// The first is RunNamespace.
func RunNamespaces(ma *modelv1alpha1.Artifact) []string {
	return distinct(append([]string{RunNamespace(ma)}, RecordedNamespaces(ma)...))
}

// RecordedNamespaces returns the namespaces in which objects of the Artifact's runs may
// be as the Artifact itself records: its own if it records no other.
func RecordedNamespaces(ma *modelv1alpha1.Artifact) []string {
	var out []string
	for _, ns := range strings.SplitN(ma.GetAnnotations()[AnnotationRunNamespaces], ",", maxRunNamespaces+1) {
		if len(out) < maxRunNamespaces && (ns != "" && ns == ma.GetNamespace() || len(validation.IsDNS1123Label(ns)) == 0) {
			out = append(out, ns)
		}
	}
	if len(out) == 0 {
		out = append(out, ma.GetNamespace())
	}
	if ref := ma.Status.AtProvider.JobRef; ref != nil && len(validation.IsDNS1123Label(ref.Namespace)) == 0 {
		out = append(out, ref.Namespace)
	}
	return distinct(out)
}

// RecordRunNamespace records in the Artifact's annotations that objects of its runs may
// be in RunNamespace, before any is created there. Namespaces that are recorded already
// stay so unless the Artifact has had no run.
func RecordRunNamespace(ma *modelv1alpha1.Artifact) {
	if RunOf(ma) == (Run{}) {
		recordNamespaces(ma, RunNamespace(ma))
		return
	}
	recordNamespaces(ma, RunNamespaces(ma)...)
}

// ForgetOtherNamespaces records in the Artifact's annotations that no namespace but
// RunNamespace has objects of its runs. It reports whether that is a change.
func ForgetOtherNamespaces(ma *modelv1alpha1.Artifact) bool {
	before := ma.GetAnnotations()[AnnotationRunNamespaces]
	recordNamespaces(ma, RunNamespace(ma))
	return ma.GetAnnotations()[AnnotationRunNamespaces] != before
}

// recordNamespaces sets AnnotationRunNamespaces.
func recordNamespaces(ma *modelv1alpha1.Artifact, namespaces ...string) {
	annotations := ma.GetAnnotations()
	if len(namespaces) == 1 && namespaces[0] == ma.GetNamespace() {
		delete(annotations, AnnotationRunNamespaces)
		return
	}
	ma.SetAnnotations(merged(annotations, map[string]string{
		AnnotationRunNamespaces: strings.Join(namespaces[:min(len(namespaces), maxRunNamespaces)], ","),
	}))
}

// distinct returns the strings in their order without duplicates.
func distinct(all []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// isolated reports whether the Artifact's runs execute in another namespace.
func isolated(a *modelv1alpha1.Artifact) bool { return RunNamespace(a) != a.GetNamespace() }

// Owns reports whether an object of a run belongs to an Artifact: in the Artifact's
// namespace if the Artifact is its controller; in another one, where tenants must not be
// able to write, by its labels and annotations.
func Owns(owner, o metav1.Object) bool {
	if o.GetNamespace() == owner.GetNamespace() {
		return metav1.IsControlledBy(o, owner)
	}
	return o.GetLabels()[LabelArtifactUID] == string(owner.GetUID()) && OwnsByName(owner, o)
}

// OwnsByName reports whether an object belongs to the Artifact or to an earlier one of
// its name, as Owns does.
func OwnsByName(owner, o metav1.Object) bool {
	if o.GetNamespace() == owner.GetNamespace() {
		c := metav1.GetControllerOf(o)
		return c != nil && isArtifact(c) && c.Name == owner.GetName()
	}
	annotations := o.GetAnnotations()
	return o.GetLabels()[LabelArtifactUID] != "" &&
		annotations[AnnotationArtifactNamespace] == owner.GetNamespace() && annotations[AnnotationArtifact] == owner.GetName()
}

// ArtifactOf returns the name of the Artifact that an object of a run belongs to, and
// reports whether there is one. An object of an Artifact in another namespace must be
// in a namespace where tenants cannot write for the answer to be believed.
func ArtifactOf(o metav1.Object) (types.NamespacedName, bool) {
	annotations := o.GetAnnotations()
	if ns := annotations[AnnotationArtifactNamespace]; ns != "" && ns != o.GetNamespace() {
		return types.NamespacedName{Namespace: ns, Name: annotations[AnnotationArtifact]}, annotations[AnnotationArtifact] != ""
	}
	if c := metav1.GetControllerOf(o); c != nil && isArtifact(c) {
		return types.NamespacedName{Namespace: o.GetNamespace(), Name: c.Name}, true
	}
	// A Pod is its Job's, and outlives it for a while.
	name := annotations[AnnotationArtifact]
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: name}, name != ""
}

// ArtifactUIDOf returns the UID of the Artifact that a Job belongs to, which ArtifactOf
// names; empty for none.
func ArtifactUIDOf(job metav1.Object) types.UID {
	if ns := job.GetAnnotations()[AnnotationArtifactNamespace]; ns != "" && ns != job.GetNamespace() {
		return types.UID(job.GetLabels()[LabelArtifactUID])
	}
	if c := metav1.GetControllerOf(job); c != nil {
		return c.UID
	}
	return ""
}

// isArtifact reports whether an owner is an Artifact.
func isArtifact(r *metav1.OwnerReference) bool {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	return err == nil && gv.Group == modelv1alpha1.Group && r.Kind == modelv1alpha1.ArtifactGroupVersionKind.Kind
}

// own makes the Artifact the owner of an object in RunNamespace, as Owns reports.
func own(a *modelv1alpha1.Artifact, o client.Object, scheme *runtime.Scheme) error {
	if !isolated(a) {
		return errors.Wrap(controllerutil.SetControllerReference(a, o, scheme), "cannot own an object of the run")
	}
	o.SetLabels(merged(o.GetLabels(), identityLabels(a)))
	o.SetAnnotations(merged(o.GetAnnotations(), identityAnnotations(a)))
	return nil
}

// identityLabels returns the labels by which objects of the Artifact's runs are found
// to be its own; nil in its own namespace.
func identityLabels(a *modelv1alpha1.Artifact) map[string]string {
	if !isolated(a) {
		return nil
	}
	return map[string]string{LabelArtifactUID: string(a.GetUID())}
}

// identityAnnotations returns the annotations that name the Artifact in objects of its
// runs; nil in its own namespace.
func identityAnnotations(a *modelv1alpha1.Artifact) map[string]string {
	if !isolated(a) {
		return nil
	}
	return map[string]string{AnnotationArtifact: a.GetName(), AnnotationArtifactNamespace: a.GetNamespace()}
}

// SecretAnnotations returns those of a Secret's annotations that the provider reads.
func SecretAnnotations(s metav1.Object) map[string]string {
	var out map[string]string
	for _, key := range []string{AnnotationArtifact, AnnotationArtifactNamespace, AnnotationCopyHash} {
		if value, ok := s.GetAnnotations()[key]; ok {
			out = merged(out, map[string]string{key: value})
		}
	}
	return out
}

// WorkspaceName returns the name of the Artifact's workspace in RunNamespace. Outside
// of the Artifact's namespace it ends in a hash of the Artifact's UID, since Artifacts
// of several namespaces may have one name.
func WorkspaceName(a *modelv1alpha1.Artifact) string {
	if !isolated(a) {
		return PVCName(a.GetName())
	}
	return withSuffix(a.GetName(), PVCSuffix+uidSuffix(a))
}

// uidSuffix returns the end of names that are the Artifact's alone.
func uidSuffix(a *modelv1alpha1.Artifact) string { return "-" + shortHash(string(a.GetUID())) }
