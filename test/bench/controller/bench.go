package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// A bench is an API server with the provider, and fakes of the rest of a cluster.
type bench struct {
	options options
	report  *report

	config     *rest.Config
	http       *http.Client
	own        *ownRequests
	client     client.WithWatch
	cluster    *cluster
	registry   *registry
	provider   *provider
	kubeconfig string
	log        io.Writer

	// artifacts is how many there are.
	artifacts int
}

// newBench starts all but the provider. What it returns to stop that is never
// nil.
func newBench(ctx context.Context, o options) (*bench, func() error, error) {
	b := &bench{options: o, report: &report{out: os.Stdout}, registry: newRegistry()}
	ctx, cancel := context.WithCancel(ctx)
	var stops []func() error
	stop := func() error {
		errs := []error{b.provider.stop()}
		cancel()
		for _, s := range stops {
			errs = append(errs, s())
		}
		b.registry.Close()
		return errors.Join(errs...)
	}

	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return b, stop, errors.Wrap(err, "cannot make a directory")
	}
	stops = append(stops, func() error { return os.RemoveAll(dir) })
	log, err := os.Create(o.log)
	if err != nil {
		return b, stop, errors.Wrap(err, "cannot open the log")
	}
	b.log = log
	stops = append(stops, log.Close)
	if b.options.provider == "" {
		if b.options.provider, err = buildProvider(ctx, dir); err != nil {
			return b, stop, err
		}
	}
	config, stopServer, err := apiserver.Start(ctx)
	if err != nil {
		return b, stop, err
	}
	stops = append([]func() error{stopServer}, stops...)
	b.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(b.kubeconfig, config); err != nil {
		return b, stop, err
	}
	return b, stop, b.connect(ctx, config)
}

// connect makes the clients, starts the fake cluster and makes what Artifacts need.
func (b *bench) connect(ctx context.Context, config *rest.Config) error {
	// The benchmark's own client must not be what limits.
	b.config = rest.CopyConfig(config)
	b.config.QPS = -1
	b.config.Wrap(func(t http.RoundTripper) http.RoundTripper {
		b.own = &ownRequests{RoundTripper: t, counts: requests{}}
		return b.own
	})
	var err error
	if b.http, err = rest.HTTPClientFor(b.config); err != nil {
		return errors.Wrap(err, "cannot make a client")
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apis.AddToScheme(scheme)); err != nil {
		return errors.Wrap(err, "cannot make a scheme")
	}
	if b.client, err = client.NewWithWatch(b.config, client.Options{Scheme: scheme, HTTPClient: b.http}); err != nil {
		return errors.Wrap(err, "cannot make a client")
	}
	kube, err := kubernetes.NewForConfigAndClient(b.config, b.http)
	if err != nil {
		return errors.Wrap(err, "cannot make a client")
	}
	if b.cluster, err = newCluster(ctx, b.client, kube, b.options.runTime, b.registry.push); err != nil {
		return err
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&v1alpha1.ProviderConfig{
			ObjectMeta: metav1.ObjectMeta{Name: configName, Namespace: namespace},
			Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
				Host:      v1alpha1.RegistryHost(b.registry.host()),
				PlainHTTP: true,
				Credentials: v1alpha1.RegistryCredentials{
					Source:    xpv2.CredentialsSourceSecret,
					SecretRef: &xpv2.LocalSecretReference{Name: credentialsName},
				},
			}},
		},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: credentialsName, Namespace: namespace},
			Type:       corev1.SecretTypeDockerConfigJson,
			Data:       map[string][]byte{corev1.DockerConfigJsonKey: testregistry.DockerConfig(map[string]testregistry.Entry{b.registry.host(): {Username: "bench", Password: "bench"}})},
		},
	} {
		if err := b.client.Create(ctx, o); err != nil {
			return errors.Wrapf(err, "cannot create %T", o)
		}
	}
	return nil
}

// start starts the provider again.
func (b *bench) start(ctx context.Context) error {
	if err := b.provider.stop(); err != nil {
		return err
	}
	var err error
	b.provider, err = b.startOne(ctx)
	return err
}

// startOne starts a provider beside any others.
func (b *bench) startOne(ctx context.Context, flags ...string) (*provider, error) {
	flags = append(flags, "--poll="+b.options.poll.String())
	return startProvider(ctx, b.options.provider, b.kubeconfig, b.log, append(flags, b.options.flags...)...)
}

// asked returns the requests to the API server of others than the benchmark.
func (b *bench) asked(ctx context.Context) (requests, error) {
	all, err := scrape(ctx, b.http, server(b.config)+"/metrics")
	if err != nil {
		return nil, err
	}
	return all.less(b.own.snapshot()), nil
}

// names returns n names of Artifacts.
func names(prefix string, n int) []string {
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, prefix+"-"+fmt.Sprintf("%0*d", len(strconv.Itoa(n)), i))
	}
	return out
}

// sleep waits.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
