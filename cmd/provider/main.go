// Command provider runs the controllers of provider-kitops.
package main

import (
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
	"go.uber.org/zap/zapcore"
	// The image holds no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// flags of the program.
type flags struct {
	debug            bool
	leaderElection   bool
	syncInterval     time.Duration
	pollInterval     time.Duration
	pollJitter       int
	maxReconcileRate int
	metricsAddress   string
	healthAddress    string
	images           artifactcontroller.Images
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
	app.Flag("max-reconcile-rate", "Reconciles a second, and reconciles at once.").Default("100").IntVar(&f.maxReconcileRate)
	app.Flag("metrics-bind-address", "Where metrics are served; 0 for nowhere.").Default(":8080").StringVar(&f.metricsAddress)
	app.Flag("health-probe-bind-address", "Where /healthz and /readyz are served.").Default(":8081").StringVar(&f.healthAddress)
	app.Flag("kit-image", "Image that holds kit, for the Kit pipeline.").Default(artifact.DefaultKitImage).StringVar(&f.images.Kit)
	app.Flag("worker-image", "Image that holds the worker: the provider's own.").Default(version.Image()).StringVar(&f.images.Worker)
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
	mgr, err := ctrl.NewManager(cfg, managerOptions(f))
	if err != nil {
		return errors.Wrap(err, "cannot create the controller manager")
	}

	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return errors.Wrap(err, "cannot serve health checks")
	}

	recorder := managed.NewMRMetricRecorder()
	metrics.Registry.MustRegister(recorder)
	features := &feature.Flags{}
	features.Enable(feature.EnableBetaManagementPolicies)
	o := controller.Options{
		Logger:                  log,
		MaxConcurrentReconciles: f.maxReconcileRate,
		PollInterval:            f.pollInterval,
		GlobalRateLimiter:       ratelimiter.NewGlobal(f.maxReconcileRate),
		Features:                features,
		MetricOptions:           &controller.MetricOptions{MRMetrics: recorder},
	}
	if err := config.Setup(mgr, o); err != nil {
		return err
	}
	if err := artifactcontroller.Setup(mgr, artifactcontroller.Options{
		Options:    o,
		Images:     f.images,
		PollJitter: f.pollInterval * time.Duration(f.pollJitter) / 100,
	}); err != nil {
		return errors.Wrap(err, "cannot set up the controller of Artifacts")
	}
	log.Info("Starting", "version", version.Version, "poll", f.pollInterval.String(), "kit-image", f.images.Kit, "worker-image", f.images.Worker)
	return errors.Wrap(mgr.Start(ctrl.SetupSignalHandler()), "cannot start the controller manager")
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

// managerOptions returns what the manager caches, serves and elects.
func managerOptions(f flags) ctrl.Options {
	scheme := runtime.NewScheme()
	kingpin.FatalIfError(clientgoscheme.AddToScheme(scheme), "Cannot add Kubernetes' APIs to the scheme")
	kingpin.FatalIfError(apis.AddToScheme(scheme), "Cannot add the provider's APIs to the scheme")

	ours := cache.ByObject{Label: labels.SelectorFromSet(artifact.CommonLabels())}
	o := ctrl.Options{
		Scheme:                        scheme,
		HealthProbeBindAddress:        f.healthAddress,
		Metrics:                       metricsserver.Options{BindAddress: f.metricsAddress},
		LeaderElection:                f.leaderElection,
		LeaderElectionID:              "crossplane-leader-election-provider-kitops",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(60 * time.Second),
		RenewDeadline:                 ptr.To(50 * time.Second),
	}
	o.Cache = cache.Options{
		SyncPeriod:       &f.syncInterval,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}:                  ours,
			&corev1.Pod{}:                   ours,
			&corev1.PersistentVolumeClaim{}: ours,
		},
	}
	// Secrets are read one by one, so that no copy of all is in memory.
	o.Client = client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
	return o
}
