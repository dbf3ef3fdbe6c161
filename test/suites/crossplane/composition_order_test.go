package crossplane

import (
	"strconv"
	"sync"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// A seen is a state that an Artifact or a Deployment had.
type seen struct {
	version    uint64 // The resource version: one counter for all of the cluster.
	deployment bool
	reference  string // What the Artifact has, or the Deployment pulls.
	creating   bool   // The Artifact is rebuilt for another generation.
}

// watch notes all states that Artifacts and Deployments of the tenant have from
// now on, and returns what tells them.
func (n *tenant) watch() func() []seen {
	n.t.Helper()
	c, err := client.NewWithWatch(local.REST, client.Options{Scheme: local.Client.Scheme()})
	if err != nil {
		n.t.Fatal(err)
	}
	var mu sync.Mutex
	var all []seen
	for _, list := range []client.ObjectList{&modelv1alpha1.ArtifactList{}, &appsv1.DeploymentList{}} {
		w, err := c.Watch(n.t.Context(), list, client.InNamespace(n.namespace))
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(w.Stop)
		go func() {
			for e := range w.ResultChan() {
				if s, ok := look(e); ok {
					mu.Lock()
					all = append(all, s)
					mu.Unlock()
				}
			}
		}()
	}
	return func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return append([]seen{}, all...)
	}
}

func look(e watch.Event) (seen, bool) {
	o, ok := e.Object.(client.Object)
	if !ok {
		return seen{}, false
	}
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return seen{}, false
	}
	switch o := o.(type) {
	case *modelv1alpha1.Artifact:
		c := o.GetCondition(xpv2.TypeReady)
		return seen{
			version: version, reference: o.Status.AtProvider.PinnedReference,
			creating: c.Status == corev1.ConditionFalse && c.Reason == xpv2.ReasonCreating && o.GetGeneration() > 1,
		}, true
	case *appsv1.Deployment:
		return seen{version: version, deployment: true, reference: o.Spec.Template.Spec.InitContainers[0].Args[0]}, true
	}
	return seen{}, false
}

// checkOrder checks that no Deployment pulled anything before the Artifact had
// it, and that it kept the first artifact while the second one was made.
func checkOrder(t *testing.T, events []seen, first, second string) {
	t.Helper()
	since := map[string]uint64{}
	kept := false
	for _, e := range events {
		if e.deployment {
			continue
		}
		if was, ok := since[e.reference]; !ok || e.version < was {
			since[e.reference] = e.version
		}
		kept = kept || e.creating && e.reference == first
	}
	if !kept {
		t.Errorf("want the Artifact to go on to name %s while it is made anew, got %+v", first, events)
	}
	for _, e := range events {
		if !e.deployment {
			continue
		}
		if has, ok := since[e.reference]; !ok || e.version < has {
			t.Errorf("the Deployment pulls %q before the Artifact has it: %+v", e.reference, events)
		}
		if e.reference != first && e.reference != second {
			t.Errorf("the Deployment pulls %q, neither %s nor %s", e.reference, first, second)
		}
	}
}
