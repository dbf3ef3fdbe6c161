package plugin

import (
	"context"
	"slices"
	"time"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// relistAfter is how long after a watch that failed everything is listed again, and
	// relistLongest how long after several.
	relistAfter   = time.Second
	relistLongest = 30 * time.Second
)

// A change is of Artifacts that are followed.
type change struct {
	artifacts []*modelv1alpha1.Artifact

	// complete reports whether there are no others. Otherwise those in deleted are gone.
	complete bool
	deleted  []string
}

// keyOf returns the namespace and name of an Artifact.
func keyOf(a *modelv1alpha1.Artifact) string { return a.GetNamespace() + "/" + a.GetName() }

// gone returns which of the known Artifacts are gone after a change.
func gone[T any](c change, known map[string]T) []string {
	out := slices.Clone(c.deleted)
	if !c.complete {
		return out
	}
	here := map[string]bool{}
	for _, a := range c.artifacts {
		here[keyOf(a)] = true
	}
	for key := range known {
		if !here[key] {
			out = append(out, key)
		}
	}
	return out
}

// follow sends the Artifacts, and then their changes, until the context ends. It returns an
// error if the first list fails, or if the account may not watch.
func (c *cluster) follow(ctx context.Context, namespace string, names []string, changes chan<- change) error {
	o := metav1.ListOptions{}
	if len(names) == 1 {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, names[0]).String()
	}
	wanted := func(a *modelv1alpha1.Artifact) bool { return len(names) == 0 || slices.Contains(names, a.GetName()) }
	for failures := 0; ; {
		started := time.Now()
		listed, err := c.listAndWatch(ctx, namespace, o, wanted, changes)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // The user ended it.
		}
		if err != nil && (!listed && failures == 0 || kerrors.IsForbidden(err) || kerrors.IsUnauthorized(err)) {
			return err
		}
		if failures++; listed && time.Since(started) > relistLongest {
			failures = 1
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry.Backoff(failures, relistAfter, relistLongest)):
		}
	}
}

// listAndWatch sends the Artifacts, and then their changes, until the API server ends the
// watch, as it does every few minutes. It reports whether they could be listed.
func (c *cluster) listAndWatch(ctx context.Context, namespace string, o metav1.ListOptions, wanted func(*modelv1alpha1.Artifact) bool, changes chan<- change) (bool, error) {
	list, err := c.artifacts(namespace).List(ctx, o)
	if err != nil {
		return false, describe(err, "cannot list Artifacts")
	}
	first := change{complete: true}
	for i := range list.Items {
		a, err := as[modelv1alpha1.Artifact](&list.Items[i])
		if err != nil {
			return false, err
		}
		if wanted(a) {
			first.artifacts = append(first.artifacts, a)
		}
	}
	if !send(ctx, changes, first) {
		return true, nil
	}
	o.ResourceVersion = list.GetResourceVersion()
	w, err := c.artifacts(namespace).Watch(ctx, o)
	if err != nil {
		return true, describe(err, "cannot watch Artifacts")
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return true, errors.Wrap(kerrors.FromObject(e.Object), "cannot watch Artifacts")
		}
		u, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		a, err := as[modelv1alpha1.Artifact](u)
		if err != nil {
			return true, err
		}
		if wanted(a) && !send(ctx, changes, changeOf(e.Type, a)) {
			return true, nil
		}
	}
	return true, nil
}

// changeOf returns the change of one Artifact.
func changeOf(t watch.EventType, a *modelv1alpha1.Artifact) change {
	if t == watch.Deleted {
		return change{deleted: []string{keyOf(a)}}
	}
	return change{artifacts: []*modelv1alpha1.Artifact{a}}
}

// send sends a change, and reports whether the context has not ended before.
func send(ctx context.Context, changes chan<- change, c change) bool {
	select {
	case changes <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
