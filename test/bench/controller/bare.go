package main

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

const (
	// bareNamespace is where the bare client makes its objects.
	bareNamespace = "bare"

	// sampleName is the Artifact's whose objects the bare client copies. It occurs in them
	// nowhere else.
	sampleName = "sample-of-a-run"
)

// A bareClient is what a provider could be at best. It makes, of Artifacts that are applied as
// the benchmark applies them to the provider, the objects that the provider makes for their
// runs, with the same writes in as many workers, as fast as the API server takes them: it
// writes the finalizer and the annotations that must be written before a run begins, so that
// a run which it does not know the end of is found again, and then creates copies of the
// objects that the provider made for a sample, under other names. It learns of Artifacts by a
// watch, as each controller does, and watches nothing else. It reads, decides and waits for
// nothing, asks no registry, and writes no status and no event. Both have the same machine,
// and the same API server in the same state.
type bareClient struct {
	bench   *bench
	sample  *modelv1alpha1.Artifact
	objects []client.Object
}

// newBareClient returns a client that copies the objects of the sample, which has its Job.
func (b *bench) newBareClient(ctx context.Context) (*bareClient, error) {
	a := &modelv1alpha1.Artifact{}
	if err := b.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: sampleName}, a); err != nil {
		return nil, errors.Wrap(err, "cannot get the sample")
	}
	usage := &v1alpha1.ProviderConfigUsageList{}
	pvcs := &corev1.PersistentVolumeClaimList{}
	jobs := &batchv1.JobList{}
	for _, list := range []client.ObjectList{usage, pvcs, jobs} {
		if err := b.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, errors.Wrap(err, "cannot list the sample's objects")
		}
	}
	c := &bareClient{bench: b, sample: a}
	for i := range usage.Items {
		c.add(&usage.Items[i])
	}
	for i := range pvcs.Items {
		c.add(&pvcs.Items[i])
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		// What the API server sets.
		job.Spec.Selector = nil
		for _, name := range []string{batchv1.ControllerUidLabel, batchv1.JobNameLabel, "controller-uid", "job-name"} {
			delete(job.Labels, name)
			delete(job.Spec.Template.Labels, name)
		}
		job.Status = batchv1.JobStatus{}
		c.add(job)
	}
	if want := 2 + boolInt(artifact.NeedsWorkspace(a)); len(c.objects) != want {
		return nil, errors.Errorf("the sample has %d objects, and should have %d", len(c.objects), want)
	}
	return c, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// add adds an object to what is copied, if it is the sample's.
func (c *bareClient) add(o client.Object) {
	for _, owner := range o.GetOwnerReferences() {
		if owner.UID != c.sample.GetUID() {
			continue
		}
		o.SetNamespace(bareNamespace)
		o.SetUID("")
		o.SetResourceVersion("")
		o.SetGeneration(0)
		o.SetCreationTimestamp(metav1.Time{})
		o.SetManagedFields(nil)
		o.SetFinalizers(nil)
		c.objects = append(c.objects, o)
		return
	}
}

// make makes the objects of an Artifact.
func (c *bareClient) make(ctx context.Context, a *modelv1alpha1.Artifact) error {
	name, uid := a.GetName(), a.GetUID()
	a.SetFinalizers(c.sample.GetFinalizers())
	a.SetAnnotations(c.sample.GetAnnotations())
	if err := c.bench.client.Update(ctx, a); err != nil {
		return errors.Wrap(err, "cannot annotate an Artifact")
	}
	for _, sample := range c.objects {
		data, err := json.Marshal(sample)
		if err != nil {
			return errors.Wrap(err, "cannot encode an object of the sample")
		}
		data = bytes.ReplaceAll(data, []byte(sampleName), []byte(name))
		data = bytes.ReplaceAll(data, []byte(c.sample.GetUID()), []byte(uid))
		// Typed, so that it is sent in the encoding in which the provider sends it.
		o, ok := sample.DeepCopyObject().(client.Object)
		if !ok {
			return errors.Errorf("%T is no object", sample)
		}
		if err := json.Unmarshal(data, o); err != nil {
			return errors.Wrap(err, "cannot decode an object of the sample")
		}
		if err := c.bench.client.Create(ctx, o); err != nil {
			return errors.Wrapf(err, "cannot create %T", o)
		}
	}
	return nil
}

// run makes the objects of so many Artifacts, of those that are added from now on, in workers.
// It calls watching once it watches.
func (c *bareClient) run(ctx context.Context, n int, watching func()) error {
	g, ctx := errgroup.WithContext(ctx)
	added := make(chan *modelv1alpha1.Artifact, n)
	for range c.bench.options.workers {
		g.Go(func() error {
			for a := range added {
				if err := c.make(ctx, a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(added)
		return c.watch(ctx, n, added, sync.OnceFunc(watching))
	})
	return g.Wait()
}

// watch sends so many Artifacts as they are added, each once. The API server ends a watch when
// the definition of the resource changes, and then it watches again, as informers do.
func (c *bareClient) watch(ctx context.Context, n int, added chan<- *modelv1alpha1.Artifact, watching func()) error {
	seen := map[string]bool{}
	for len(seen) < n {
		// Without a version it begins with what is there.
		w, err := c.bench.client.Watch(ctx, &modelv1alpha1.ArtifactList{}, client.InNamespace(bareNamespace))
		if err != nil {
			return errors.Wrap(err, "cannot watch Artifacts")
		}
		watching()
		for len(seen) < n {
			e, ok := <-w.ResultChan() // It is closed when the context ends.
			if !ok {
				break
			}
			if a, ok := e.Object.(*modelv1alpha1.Artifact); ok && e.Type == watch.Added && !seen[a.GetName()] {
				seen[a.GetName()] = true
				added <- a
			}
		}
		w.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// bare measures how fast the bare client makes Artifacts with their Jobs, and the processor
// time that this takes, and removes them.
func (b *bench) bare(ctx context.Context, prefix string, n int) (burst, error) {
	c, err := b.newBareClient(ctx)
	if err != nil {
		return burst{}, err
	}
	if err := client.IgnoreAlreadyExists(b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareNamespace}})); err != nil {
		return burst{}, errors.Wrap(err, "cannot create a namespace")
	}
	before, err := usedProcessor()
	if err != nil {
		return burst{}, err
	}
	all := names(prefix, n)
	g, inner := errgroup.WithContext(ctx)
	watching := make(chan struct{})
	g.Go(func() error { return c.run(inner, n, func() { close(watching) }) })
	start := time.Now()
	g.Go(func() error {
		select {
		case <-watching:
		case <-inner.Done():
			return inner.Err()
		}
		start = time.Now()
		return inParallel(inner, b.options.workers, all, b.applyBare)
	})
	if err := g.Wait(); err != nil {
		return burst{}, err
	}
	last, err := b.lastJob(ctx, all)
	if err != nil {
		return burst{}, err
	}
	after, err := usedProcessor()
	if err != nil {
		return burst{}, err
	}
	return burst{took: last.Sub(start), used: after.less(before)}, b.removeBare(ctx)
}

// applyBare applies an Artifact for the bare client.
func (b *bench) applyBare(ctx context.Context, name string) error {
	return b.applyIn(ctx, bareNamespace, name)
}

// removeBare removes what the bare client made.
func (b *bench) removeBare(ctx context.Context) error {
	// The runtime's finalizer is on the Artifacts.
	artifacts := &modelv1alpha1.ArtifactList{}
	if err := b.client.List(ctx, artifacts, client.InNamespace(bareNamespace)); err != nil {
		return errors.Wrap(err, "cannot list Artifacts")
	}
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.PersistentVolumeClaim{}, &v1alpha1.ProviderConfigUsage{}, &modelv1alpha1.Artifact{}} {
		if err := b.client.DeleteAllOf(ctx, o, client.InNamespace(bareNamespace), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return errors.Wrapf(err, "cannot delete %T", o)
		}
	}
	names := make([]string, 0, len(artifacts.Items))
	for i := range artifacts.Items {
		names = append(names, artifacts.Items[i].GetName())
	}
	return errors.Join(b.releaseClaims(ctx, bareNamespace), inParallel(ctx, seeders, names, func(ctx context.Context, name string) error {
		return b.unprotect(ctx, &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: name}})
	}))
}

// unprotect takes the finalizers off an object.
func (b *bench) unprotect(ctx context.Context, o client.Object) error {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	return errors.Wrapf(client.IgnoreNotFound(b.client.Patch(ctx, o, patch)), "cannot take the finalizers off %T", o)
}

// releaseClaims takes the finalizers off the claims of a namespace that are being deleted, as
// Kubernetes' controller does that protects them while they are used.
func (b *bench) releaseClaims(ctx context.Context, namespace string) error {
	pvcs := &corev1.PersistentVolumeClaimList{}
	if err := b.client.List(ctx, pvcs, client.InNamespace(namespace)); err != nil {
		return errors.Wrap(err, "cannot list claims")
	}
	var names []string
	for i := range pvcs.Items {
		if pvcs.Items[i].GetDeletionTimestamp() != nil {
			names = append(names, pvcs.Items[i].GetName())
		}
	}
	return inParallel(ctx, seeders, names, func(ctx context.Context, name string) error {
		return b.unprotect(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	})
}

// inParallel does something for each name, so many at the same time.
func inParallel(ctx context.Context, workers int, names []string, do func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, name := range names {
		g.Go(func() error { return do(ctx, name) })
	}
	return g.Wait()
}
