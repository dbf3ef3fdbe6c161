package main

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/kstatus"
)

const (
	// namespace of all Artifacts: one, since that is the most work for a list of a
	// namespace.
	namespace = "bench"

	// configName is the ProviderConfig's.
	configName = "default"

	// credentialsName is the Secret's with the registry's credentials: polls are
	// not to pay for them.
	credentialsName = "registry"

	// finalizer is the runtime's on what it manages.
	finalizer = "finalizer.managedresource.crossplane.io"

	// seeders is how many Artifacts are seeded at the same time.
	seeders = 16
)

// newArtifact returns an Artifact as a user writes it.
func (b *bench) newArtifact(name string) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{
				ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: v1alpha1.ProviderConfigGroupVersionKind.Kind, Name: configName},
			},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/" + name, Revision: "main"}},
				Target:   &modelv1alpha1.Target{Repository: "models/" + name, Tag: "v1"},
				Pipeline: modelv1alpha1.PipelineType(b.options.pipeline),
			},
		},
	}
	a.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	return a
}

// apply applies an Artifact as kubectl does, server-side.
func (b *bench) apply(ctx context.Context, name string) error {
	return b.applyIn(ctx, namespace, name)
}

// applyIn does so in a namespace.
func (b *bench) applyIn(ctx context.Context, namespace, name string) error {
	a := b.newArtifact(name)
	a.SetNamespace(namespace)
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(a)
	if err != nil {
		return errors.Wrap(err, "cannot encode an Artifact")
	}
	delete(object, "status")
	u := &unstructured.Unstructured{Object: object}
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	err = b.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("bench"))
	return errors.Wrapf(err, "cannot apply Artifact %q", name)
}

// waitReady waits until this many Artifacts are Ready.
func (b *bench) waitReady(ctx context.Context, n int) error {
	ready := 0
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		list := &modelv1alpha1.ArtifactList{}
		if err := b.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		ready = 0
		for i := range list.Items {
			if list.Items[i].GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue {
				ready++
			}
		}
		return ready >= n, nil
	})
	return errors.Wrapf(errors.Join(append(b.cluster.failures(), err)...), "%d of %d Artifacts are Ready", ready, n)
}

// seed makes Artifacts that are Ready since long: their Jobs are gone.
func (b *bench) seed(ctx context.Context, n int) error {
	return inParallel(ctx, seeders, names("seeded", max(n, 0)), b.seedOne)
}

func (b *bench) seedOne(ctx context.Context, name string) error {
	a := b.newArtifact(name)
	a.Effective.Registry = b.registry.host()
	run := artifact.Run{Hash: artifact.RunHash(a), Number: 1}
	meta.SetExternalName(a, artifact.ExternalName(a))
	meta.AddAnnotations(a, run.Annotations())
	meta.AddFinalizer(a, finalizer)
	status := modelv1alpha1.ArtifactStatus{AtProvider: modelv1alpha1.ArtifactObservation{
		Phase:           modelv1alpha1.PhaseSucceeded,
		Digest:          manifestDigest,
		Reference:       artifact.OCIReference(a),
		PinnedReference: artifact.ExternalName(a) + "@" + manifestDigest,
		Size:            42,
		Files:           3,
		Source:          &modelv1alpha1.SourceObservation{Revision: "0123456789012345678901234567890123456789", License: "mit"},
		RunHash:         run.Hash,
		Run:             run.Number,
		Pipeline:        modelv1alpha1.PipelineType(b.options.pipeline),
	}}
	if err := b.client.Create(ctx, a); err != nil {
		return errors.Wrap(err, "cannot seed an Artifact")
	}
	// What identifies it in its registry has its UID.
	meta.AddAnnotations(a, map[string]string{artifact.AnnotationOwner: string(a.GetUID())})
	artifact.RecordRunNamespace(a)
	if err := b.client.Update(ctx, a); err != nil {
		return errors.Wrap(err, "cannot annotate an Artifact")
	}
	a.Status = status
	a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Name: artifact.JobName(a)}
	for _, c := range []xpv2.Condition{xpv2.Available(), xpv2.ReconcileSuccess(), compliant()} {
		a.SetConditions(c.WithObservedGeneration(a.GetGeneration()))
	}
	kstatus.Derive(&a.Status.ConditionedStatus, &a.Status.ObservedGeneration, false)
	if err := b.client.Status().Update(ctx, a); err != nil {
		return errors.Wrap(err, "cannot seed an Artifact's status")
	}
	a.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	usage := resource.NewProviderConfigUsageTracker(b.client, &v1alpha1.ProviderConfigUsage{})
	return errors.Wrap(usage.Track(ctx, a), "cannot seed a ProviderConfigUsage")
}

// compliant is the condition of an Artifact that complies with all policies.
func compliant() xpv2.Condition {
	return xpv2.Condition{Type: modelv1alpha1.TypePolicyCompliant, Status: corev1.ConditionTrue, Reason: "Compliant", LastTransitionTime: metav1.Now()}
}

// versions returns the resourceVersion of each Artifact.
func (b *bench) versions(ctx context.Context) (map[types.UID]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind.GroupVersion().WithKind("ArtifactList"))
	if err := b.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, errors.Wrap(err, "cannot list Artifacts")
	}
	out := make(map[types.UID]string, len(list.Items))
	for i := range list.Items {
		out[list.Items[i].GetUID()] = list.Items[i].GetResourceVersion()
	}
	return out, nil
}
