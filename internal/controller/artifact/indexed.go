package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// indexInstance finds the Jobs, Pods and Secrets of runs by the label with their Artifact's
// name. Each reconcile lists them several times: without the index, each list compares the
// labels of all that the namespace has, and thousands of Artifacts that start together take
// time that grows with the square of their number.
const indexInstance = "instance"

// addRunIndexes lets the cache find the objects of an Artifact's runs.
func addRunIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	var errs []error
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}, secretMetadata()} {
		errs = append(errs, indexer.IndexField(ctx, o, indexInstance, instanceOf))
	}
	return errors.Wrap(errors.Join(errs...), "cannot index the objects of runs")
}

// secretMetadata returns the metadata of a Secret, which is all that is watched of it.
func secretMetadata() *metav1.PartialObjectMetadata {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return secret
}

// instanceOf returns the label with the name of the Artifact whose run an object is of.
func instanceOf(o client.Object) []string {
	if instance := o.GetLabels()[artifact.LabelInstance]; instance != "" {
		return []string{instance}
	}
	return nil
}

// An indexedReader reads a cache and lists the objects of one Artifact's runs by
// indexInstance.
type indexedReader struct {
	client.Reader
}

// List lists objects.
func (r indexedReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return r.Reader.List(ctx, list, byInstance(list, opts)...)
}

// An indexedClient is a client that lists the objects of one Artifact's runs by
// indexInstance.
type indexedClient struct {
	client.Client
}

// List lists objects.
func (c indexedClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.Client.List(ctx, list, byInstance(list, opts)...)
}

// byInstance returns options for a list: those that there are and, if they ask for the
// objects of one Artifact's runs, that with the index.
func byInstance(list client.ObjectList, opts []client.ListOption) []client.ListOption {
	switch list := list.(type) {
	case *batchv1.JobList, *corev1.PodList:
	case *metav1.PartialObjectMetadataList:
		if list.Kind != "SecretList" {
			return opts
		}
	default:
		return opts
	}
	o := &client.ListOptions{}
	if o.ApplyOptions(opts); o.LabelSelector == nil || o.FieldSelector != nil {
		return opts
	}
	instance, ok := o.LabelSelector.RequiresExactMatch(artifact.LabelInstance)
	if !ok {
		return opts
	}
	return append(opts[:len(opts):len(opts)], client.MatchingFields{indexInstance: instance})
}
