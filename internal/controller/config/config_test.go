package config

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const (
	// patience bounds the time for all configs of a test together.
	patience = 30 * time.Second

	// atOnce bounds the time for one config, on a busy machine.
	atOnce = 5 * time.Second
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	os.Exit(apiserver.Main(m))
}

// startControllers runs the controllers for a namespace until the test ends.
func startControllers(t *testing.T, namespace string) {
	t.Helper()
	mgr, err := ctrl.NewManager(apiserver.Config(t), ctrl.Options{
		Scheme:                  apiserver.Scheme(t),
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		Cache:                   cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		Controller:              ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To[time.Duration](0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Setup(mgr, Options{Options: controller.Options{Logger: logging.NewNopLogger(), MaxConcurrentReconciles: 10}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func config(namespace, name string) *v1alpha1.ProviderConfig {
	return &v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
			Host:        "registry.example.com",
			Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
		}},
	}
}

// usage returns the usage of a config by the n-th Artifact.
func usage(pc *v1alpha1.ProviderConfig, n int) *v1alpha1.ProviderConfigUsage {
	name := fmt.Sprintf("artifact-%d", n)
	u := &v1alpha1.ProviderConfigUsage{ObjectMeta: metav1.ObjectMeta{
		Namespace: pc.GetNamespace(),
		Name:      name,
		Labels:    map[string]string{xpv2.LabelKeyProviderName: pc.GetName(), xpv2.LabelKeyProviderKind: v1alpha1.ProviderConfigGroupVersionKind.Kind},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "model.kitops.m.crossplane.io/v1alpha1", Kind: "Artifact", Name: name, UID: types.UID(name), Controller: ptr.To(true),
		}},
	}}
	u.SetProviderConfigReference(xpv2.ProviderConfigReference{Kind: v1alpha1.ProviderConfigGroupVersionKind.Kind, Name: pc.GetName()})
	u.SetResourceReference(xpv2.TypedReference{APIVersion: "model.kitops.m.crossplane.io/v1alpha1", Kind: "Artifact", Name: name, UID: types.UID(name)})
	return u
}

// forEach calls f for 0 to n-1, with some concurrency.
func forEach(t *testing.T, n int, f func(ctx context.Context, n int) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// within waits until check returns an empty text.
func within(t *testing.T, limit time.Duration, what string, check func(context.Context) (string, error)) {
	t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		var err error
		last, err = check(ctx)
		return last == "", err
	})
	if err != nil {
		t.Fatalf("%s within %s: %s: %v", what, limit, last, err)
	}
}

// gone checks that an object is gone.
func gone(c client.Client, o client.Object) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
		if err == nil {
			return "it is there", nil
		}
		return "", client.IgnoreNotFound(err)
	}
}

// TestManyConfigs checks that one of many configs does not wait for others.
func TestManyConfigs(t *testing.T) {
	const many = 1000
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	forEach(t, many, func(ctx context.Context, n int) error {
		return c.Create(ctx, config(namespace, fmt.Sprintf("config-%d", n)))
	})
	list := func(ctx context.Context) ([]v1alpha1.ProviderConfig, error) {
		l := &v1alpha1.ProviderConfigList{}
		err := c.List(ctx, l, client.InNamespace(namespace))
		return l.Items, err
	}

	startControllers(t, namespace)
	within(t, patience, "finalizers", func(ctx context.Context) (string, error) {
		configs, err := list(ctx)
		with := 0
		for i := range configs {
			with += len(configs[i].GetFinalizers())
		}
		if with < many {
			return fmt.Sprintf("there are %d of %d", with, many), err
		}
		return "", err
	})

	unused := config(namespace, "config-500")
	if err := c.Delete(t.Context(), unused); err != nil {
		t.Fatal(err)
	}
	within(t, atOnce, "an unused config is deleted", gone(c, unused))

	if err := c.DeleteAllOf(t.Context(), &v1alpha1.ProviderConfig{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "all configs are deleted", func(ctx context.Context) (string, error) {
		configs, err := list(ctx)
		if len(configs) > 0 {
			return fmt.Sprintf("%d are there", len(configs)), err
		}
		return "", err
	})
}

// TestManyUsages checks that a config in use is not deleted, and that its users are
// counted correctly but not for each of them.
func TestManyUsages(t *testing.T) {
	const many = 300
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	used := config(namespace, "used")
	if err := c.Create(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	countWrites(t, used, &writes)

	began := time.Now()
	forEach(t, many, func(ctx context.Context, n int) error { return c.Create(ctx, usage(used, n)) })
	within(t, patience, "users are counted", func(ctx context.Context) (string, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(used), used); err != nil {
			return "", err
		}
		if used.Status.Users != many {
			return fmt.Sprintf("%d users", used.Status.Users), nil
		}
		return "", nil
	})
	// One write per recountInterval, and those of the finalizer and the first count.
	if most := int64(time.Since(began)/recountInterval) + 4; writes.Load() > most {
		t.Errorf("writes for %d usages: got %d, want at most %d", many, writes.Load(), most)
	}

	if err := c.Delete(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	within(t, atOnce, "the deletion waits for the users", func(ctx context.Context) (string, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(used), used); err != nil {
			return "", err
		}
		if used.GetCondition("Terminating").Status != corev1.ConditionTrue {
			return "there is no such condition", nil
		}
		return "", nil
	})
	forEach(t, many, func(ctx context.Context, n int) error { return c.Delete(ctx, usage(used, n)) })
	within(t, atOnce, "the config is deleted after the last user", gone(c, used))
}

// countWrites counts the changes of a config until the test ends.
func countWrites(t *testing.T, pc *v1alpha1.ProviderConfig, n *atomic.Int64) {
	t.Helper()
	c, err := client.NewWithWatch(apiserver.Config(t), client.Options{Scheme: apiserver.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(t.Context(), &v1alpha1.ProviderConfigList{}, client.InNamespace(pc.GetNamespace()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for range w.ResultChan() {
			n.Add(1)
		}
	}()
}
