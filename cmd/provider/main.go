// Command provider runs the controllers of provider-kitops.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/statemetrics"
	"go.uber.org/zap/zapcore"
	// The image holds no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// mostReconcilesAtOnce bounds how many reconciles wait for the API server at the
// same time. It is kept busy by fewer, and with more what is new waits longer:
// make bench-controller shows both.
const mostReconcilesAtOnce = 20

// flags of the program.
type flags struct {
	debug            bool
	leaderElection   bool
	syncInterval     time.Duration
	pollInterval     time.Duration
	pollJitter       int
	blobInterval     time.Duration
	stateInterval    time.Duration
	maxReconcileRate int
	progressWrites   int
	metricsAddress   string
	metricsSecure    bool
	healthAddress    string
	images           settings.Images
}

func main() {
	f := flags{}
	app := kingpin.New(filepath.Base(os.Args[0]), "Crossplane provider that keeps machine learning models in OCI registries.").DefaultEnvars()
	app.Version(version.Version)
	app.Flag("debug", "Log at debug level.").Short('d').BoolVar(&f.debug)
	app.Flag("leader-election", "Have one of several replicas work at a time.").Short('l').BoolVar(&f.leaderElection)
	app.Flag("sync", "How often the caches are synced again.").Default("1h").DurationVar(&f.syncInterval)
	app.Flag("poll", "How often the registry is asked for each Artifact.").Default("10m").DurationVar(&f.pollInterval)
	app.Flag("poll-jitter-percentage", "How early or late a poll may be, in percent of the poll interval.").Default("10").IntVar(&f.pollJitter)
	app.Flag("blob-check-interval", "How often all blobs of each Artifact are looked for in its registry; 0 for never.").Default("24h").DurationVar(&f.blobInterval)
	app.Flag("poll-state-metric", "How often Artifacts are counted by their state, for metrics; 0 for never.").Default("5s").DurationVar(&f.stateInterval)
	app.Flag("max-reconcile-rate", "Reconciles a second.").Default("100").IntVar(&f.maxReconcileRate)
	app.Flag("progress-writes-per-minute", "How often the progress of runs is written to Artifacts at most, of all runs together; 0 for never.").Default("30").IntVar(&f.progressWrites)
	app.Flag("metrics-bind-address", "Where metrics are served; 0 for nowhere.").Default(":8080").StringVar(&f.metricsAddress)
	app.Flag("metrics-secure", "Serve metrics by HTTPS, and only to accounts that may get the URL /metrics.").BoolVar(&f.metricsSecure)
	app.Flag("health-probe-bind-address", "Where /healthz and /readyz are served.").Default(":8081").StringVar(&f.healthAddress)
	app.Flag("kit-image", "Image that holds kit, for the Kit pipeline.").Default(artifact.DefaultKitImage).StringVar(&f.images.Kit)
	app.Flag("worker-image", "Image that holds the worker; by default the one that the provider itself runs as.").StringVar(&f.images.Worker)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	kingpin.FatalIfError(run(f), "Cannot run the provider")
}

// run runs the controllers until the process is told to stop.
func run(f flags) error {
	log := newLogger(f.debug)
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return errors.Wrap(err, "cannot get the API server's address")
	}
	// Reconciles are limited, and the API server shares itself out fairly: a
	// limit of the client's would only be late.
	cfg.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	kube, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return errors.Wrap(err, "cannot make a client")
	}
	pod, elects := ownPod(), ""
	if f.leaderElection {
		elects = pod.Namespace
	}
	gate := access.NewChecker(kube, log, elects)
	mgr, err := ctrl.NewManager(cfg, managerOptions(f, scheme, gate))
	if err != nil {
		return errors.Wrap(err, "cannot create the controller manager")
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return errors.Wrap(err, "cannot serve health checks")
	}

	ctx, stop := context.WithCancelCause(ctrl.SetupSignalHandler())
	defer stop(nil)
	go boundGarbage(ctx)
	o := controllerOptions(f, log)
	o.Access = gate
	o.WorkerImage = func(ctx context.Context) string { return workerImage(ctx, kube, pod, log) }
	if err := mgr.Add(&starter{mgr: mgr, kube: kube, options: o, stop: stop}); err != nil {
		return errors.Wrap(err, "cannot set up the controllers")
	}
	log.Info("Starting", "version", version.Version, "poll", f.pollInterval.String(), "kit-image", f.images.Kit)
	err = errors.Wrap(mgr.Start(ctx), "cannot start the controller manager")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// controllerOptions returns what the controllers share, and registers their
// metrics.
func controllerOptions(f flags, log logging.Logger) artifactcontroller.Options {
	recorder, states, ours := managed.NewMRMetricRecorder(), statemetrics.NewMRStateMetrics(), artifactcontroller.NewMetrics()
	metrics.Registry.MustRegister(recorder, states, ours)
	features := &feature.Flags{}
	features.Enable(feature.EnableBetaManagementPolicies)
	return artifactcontroller.Options{
		Options: controller.Options{
			Logger:                  log,
			MaxConcurrentReconciles: min(f.maxReconcileRate, mostReconcilesAtOnce),
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
		PollJitterPercentage: f.pollJitter,
		BlobCheckInterval:    f.blobInterval,
		Metrics:              ours,

		ProgressWritesPerMinute: f.progressWrites,
	}
}

// newLogger returns the provider's logger. controller-runtime's own is noisy
// and only of use to a person who debugs.
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
