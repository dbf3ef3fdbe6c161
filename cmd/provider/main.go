// Command provider runs the controllers of provider-kitops.
package main

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	changelogs "github.com/crossplane/crossplane-runtime/v2/apis/changelogs/proto/v1alpha1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/statemetrics"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	// The image holds no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossplane-contrib/provider-kitops/internal/access"
	controllers "github.com/crossplane-contrib/provider-kitops/internal/controller"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// maxConcurrentReconciles bounds how many reconciles wait for the API server at
// the same time. Fewer keep it busy, and with more a new Artifact waits longer:
// make bench-controller shows both.
const maxConcurrentReconciles = 20

func main() {
	f := flags{}
	kingpin.MustParse(newApp(&f).Parse(os.Args[1:]))
	kingpin.FatalIfError(run(f), "Cannot run the provider")
}

// run runs the controllers until the process gets a signal to stop.
func run(f flags) error {
	log := newLogger(f.debug)
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return errors.Wrap(err, "cannot get the API server's address")
	}
	// Reconciles have a rate limit, and the API server has priority and fairness:
	// a rate limit of the client would only add delays.
	cfg.QPS = -1
	// In a cluster the network is faster than compression, which each watch event of an
	// Artifact would go through, in the API server and here.
	cfg.DisableCompression = true
	scheme, err := controllers.NewScheme()
	if err != nil {
		return err
	}
	kube, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return errors.Wrap(err, "cannot create a client")
	}
	pod, electionNamespace := controllers.OwnPod(), ""
	if f.leaderElection {
		electionNamespace = pod.Namespace
	}
	checker := access.NewChecker(kube, log, electionNamespace, f.runNamespaces...)
	mgr, err := ctrl.NewManager(cfg, managerOptions(f, scheme, checker, electionNamespace))
	if err != nil {
		return errors.Wrap(err, "cannot create the controller manager")
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return errors.Wrap(err, "cannot serve health checks")
	}

	ctx, stop := context.WithCancelCause(ctrl.SetupSignalHandler())
	defer stop(nil)
	go memory.Tune(ctx)
	o := controllerOptions(f, log)
	if f.changeLogs {
		closeLogs, err := addChangeLogs(&o, f.changeLogsSocket)
		if err != nil {
			return err
		}
		defer closeLogs()
	}
	o.Access = checker
	o.WorkerImage = func(ctx context.Context) string { return controllers.WorkerImage(ctx, kube, pod, log) }
	o.Keys = func(ctx context.Context) (provenance.Keys, error) {
		return controllers.Keys(ctx, kube, pod.Namespace, f.clusterID, log)
	}
	if err := controllers.Setup(mgr, kube, o, stop); err != nil {
		return err
	}
	log.Info("Starting", "version", version.Version, "poll", f.pollInterval.String(), "kit-image", f.images.Kit)
	err = errors.Wrap(mgr.Start(ctx), "cannot start the controller manager")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// managerOptions returns the options of the manager: its cache, its servers and
// its leader election, whose Lease is in a namespace.
func managerOptions(f flags, scheme *runtime.Scheme, checker *access.Checker, electionNamespace string) ctrl.Options {
	return ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(f.syncInterval, checker, f.runNamespaces...),
		Client:                        controllers.ClientOptions(),
		HealthProbeBindAddress:        f.healthAddress,
		Metrics:                       metricsOptions(f),
		LeaderElection:                f.leaderElection,
		LeaderElectionID:              access.LeaderElectionID,
		LeaderElectionNamespace:       electionNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(60 * time.Second),
		RenewDeadline:                 ptr.To(50 * time.Second),
	}
}

// metricsOptions returns how metrics are served. With --metrics-secure that is by
// HTTPS, and only to accounts that may get the URL /metrics.
func metricsOptions(f flags) metricsserver.Options {
	o := metricsserver.Options{BindAddress: f.metricsAddress}
	if f.metricsSecure {
		o.SecureServing = true
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
		// HTTP/1.1 suffices, and avoids what clients may do in HTTP/2 before they
		// are authenticated (CVE-2023-44487).
		o.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	}
	return o
}

// controllerOptions returns the options of all controllers, and registers their
// metrics.
func controllerOptions(f flags, log logging.Logger) artifactcontroller.Options {
	recorder, states, own := managed.NewMRMetricRecorder(), statemetrics.NewMRStateMetrics(), artifactcontroller.NewMetrics()
	metrics.Registry.MustRegister(recorder, states, own)
	features := &feature.Flags{}
	if f.managementPolicies {
		features.Enable(feature.EnableBetaManagementPolicies)
	}
	return artifactcontroller.Options{
		Options: controller.Options{
			Logger:                  log,
			MaxConcurrentReconciles: min(f.maxReconcileRate, maxConcurrentReconciles),
			PollInterval:            f.pollInterval,
			GlobalRateLimiter:       ratelimiter.NewGlobal(f.maxReconcileRate),
			Features:                features,
			MetricOptions: &controller.MetricOptions{
				MRMetrics:               recorder,
				MRStateMetrics:          states,
				PollStateMetricInterval: f.stateInterval,
			},
		},
		Images:               f.images,
		RunNamespaces:        f.runNamespaces,
		Identities:           identity.NewSources(identity.ReadEnvironment(os.Getenv), identity.Options{UserAgent: version.UserAgent()}),
		Timeout:              f.timeout,
		PollJitterPercentage: f.pollJitter,
		BlobCheckInterval:    f.blobInterval,
		Metrics:              own,

		ProgressWritesPerMinute: f.progressWrites,
		Queue:                   queue.New(f.maxRuns),
	}
}

// addChangeLogs has the controllers send what they change to the server of Crossplane's
// change logs at a socket (https://docs.crossplane.io/latest/guides/change-logs/). It
// returns what closes the connection.
func addChangeLogs(o *artifactcontroller.Options, socket string) (closeLogs func(), err error) {
	// Who may connect to the socket is up to the Pod, whose containers share it.
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Wrapf(err, "cannot use the socket of change logs %q", socket)
	}
	o.Features.Enable(feature.EnableAlphaChangeLogs)
	o.ChangeLogOptions = &controller.ChangeLogOptions{ChangeLogger: managed.NewGRPCChangeLogger(
		changelogs.NewChangeLogServiceClient(conn), managed.WithProviderVersion("provider-kitops:"+version.Version),
	)}
	return func() { _ = conn.Close() }, nil
}

// newLogger returns the provider's logger. It discards controller-runtime's own
// log, which is verbose, unless debug is set.
func newLogger(debug bool) logging.Logger {
	zl := zap.New(zap.UseDevMode(debug), zap.Level(zapcore.InfoLevel))
	if debug {
		zl = zap.New(zap.UseDevMode(debug), zap.Level(zapcore.DebugLevel))
		ctrl.SetLogger(zl)
	} else {
		ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	}
	return logging.NewLogrLogger(zl.WithName("provider-kitops"))
}
