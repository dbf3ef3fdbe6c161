package config

import (
	"context"
	"slices"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/kstatus"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// conditions are the Ready conditions of configs, by UID, each of a generation. They
// are safe for concurrent use.
type conditions struct {
	mu    sync.Mutex
	ready map[types.UID]xpv2.Condition
}

// get returns the condition of a config of this generation: what was found out last,
// or what its status says.
func (c *conditions) get(o resource.ProviderConfig) xpv2.Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ready, ok := c.ready[o.GetUID()]; ok {
		return ready
	}
	return o.GetCondition(xpv2.TypeReady)
}

// put keeps the condition of a config.
func (c *conditions) put(uid types.UID, ready xpv2.Condition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil {
		c.ready = map[types.UID]xpv2.Condition{}
	}
	c.ready[uid] = ready
}

// forget drops what is known of a config.
func (c *conditions) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ready, uid)
}

// A usageManager gives crossplane-runtime, which counts users, a client that also
// writes whether a config is Ready. So configs have one writer: with two, each would
// find the other's version, and a finalizer would wait for half a minute then.
type usageManager struct {
	ctrl.Manager

	ready *conditions
}

// GetClient returns the client that crossplane-runtime writes with.
func (m usageManager) GetClient() client.Client {
	return &usageClient{Client: m.Manager.GetClient(), ready: m.ready}
}

// A usageClient writes no config as the cache has it already.
type usageClient struct {
	client.Client

	ready *conditions
}

// Update updates an object: of a config, its finalizers.
func (c *usageClient) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	if there := c.cached(ctx, o); there != nil && slices.Equal(there.GetFinalizers(), o.GetFinalizers()) {
		return nil
	}
	return c.Client.Update(ctx, o, opts...)
}

// cached returns a config as the cache has it, nil if that is another version.
func (c *usageClient) cached(ctx context.Context, o client.Object) resource.ProviderConfig {
	var there resource.ProviderConfig
	switch o.(type) {
	case *v1alpha1.ProviderConfig:
		there = &v1alpha1.ProviderConfig{}
	case *v1alpha1.ClusterProviderConfig:
		there = &v1alpha1.ClusterProviderConfig{}
	default:
		return nil
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil || there.GetResourceVersion() != o.GetResourceVersion() {
		return nil
	}
	return there
}

// Status returns a writer for statuses.
func (c *usageClient) Status() client.SubResourceWriter {
	return &statusWriter{SubResourceWriter: c.Client.Status(), client: c}
}

type statusWriter struct {
	client.SubResourceWriter

	client *usageClient
}

// Update updates the status of a config, with its Ready condition and what tools read
// beside it.
func (w *statusWriter) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	if c, ok := o.(resource.ProviderConfig); ok {
		if ready := w.client.ready.get(c); ready.ObservedGeneration == c.GetGeneration() {
			c.SetConditions(ready)
		}
		s := statusOf(c)
		kstatus.Derive(&s.ConditionedStatus, &s.ObservedGeneration, outcome.Reason(c.GetCondition(xpv2.TypeReady).Reason).Stalls())
		if there := w.client.cached(ctx, o); there != nil && equality.Semantic.DeepEqual(statusOf(there), s) {
			return nil
		}
	}
	return w.SubResourceWriter.Update(ctx, o, opts...)
}

// statusOf returns the status of a config of either kind, which may be changed.
func statusOf(c resource.ProviderConfig) *v1alpha1.ProviderConfigStatus {
	switch c := c.(type) {
	case *v1alpha1.ProviderConfig:
		return &c.Status
	case *v1alpha1.ClusterProviderConfig:
		return &c.Status
	}
	return &v1alpha1.ProviderConfigStatus{}
}
