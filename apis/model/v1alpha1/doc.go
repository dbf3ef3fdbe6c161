// Package v1alpha1 has the managed resource Artifact: a model in a registry,
// packaged as an OCI artifact.
// +kubebuilder:object:generate=true
// +groupName=model.kitops.m.crossplane.io
// +versionName=v1alpha1
package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/scheme"
)

// Group and Version of this package's kinds.
const (
	Group   = "model.kitops.m.crossplane.io"
	Version = "v1alpha1"
)

var (
	// SchemeGroupVersion is the group and version of this package's kinds.
	SchemeGroupVersion = schema.GroupVersion{Group: Group, Version: Version}

	// SchemeBuilder registers this package's kinds.
	SchemeBuilder = &scheme.Builder{GroupVersion: SchemeGroupVersion}

	// AddToScheme adds this package's kinds to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

// ArtifactGroupVersionKind is the kind Artifact.
var ArtifactGroupVersionKind = SchemeGroupVersion.WithKind("Artifact")

func init() {
	SchemeBuilder.Register(&Artifact{}, &ArtifactList{})
}
