package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// flags of the program.
type flags struct {
	debug              bool
	leaderElection     bool
	syncInterval       time.Duration
	pollInterval       time.Duration
	pollJitter         int
	timeout            time.Duration
	blobInterval       time.Duration
	clusterID          string
	stateInterval      time.Duration
	maxReconcileRate   int
	progressWrites     int
	maxRuns            int
	metricsAddress     string
	metricsSecure      bool
	healthAddress      string
	managementPolicies bool
	changeLogs         bool
	changeLogsSocket   string
	images             settings.Images
	runNamespaces      []string
}

// newApp returns the program's command line, which sets f. Flags that other Crossplane
// providers have, and their environment variables, have the same names here
// (github.com/crossplane/provider-template, crossplane-contrib/provider-kubernetes and
// crossplane/upjet), so that several providers can share a DeploymentRuntimeConfig. All
// others are errors. The variable of each other flag is PROVIDER_ and its name.
func newApp(f *flags) *kingpin.Application {
	app := kingpin.New(filepath.Base(os.Args[0]), "Crossplane provider that keeps machine learning models in OCI registries.").DefaultEnvars()
	app.Version(version.Version)
	app.Validate(func(*kingpin.Application) error { return f.validate() })
	app.Flag("debug", "Log at debug level.").Short('d').BoolVar(&f.debug)
	app.Flag("leader-election", "Elect a leader, so that one of several replicas runs the controllers at a time.").Short('l').Envar("LEADER_ELECTION").BoolVar(&f.leaderElection)
	app.Flag("sync", "Interval at which the caches are resynced.").Short('s').Default("1h").DurationVar(&f.syncInterval)
	app.Flag("poll", "Interval at which each Artifact is compared with its registry.").Default("10m").DurationVar(&f.pollInterval)
	app.Flag("poll-jitter-percentage", "Jitter of polls, in percent of the poll interval: from 0 to 99.").Default("10").IntVar(&f.pollJitter)
	app.Flag("timeout", "How long a reconcile may take. It does not limit runs: job.activeDeadlineSeconds does. A tag on a manifest of thousands of layers needs minutes.").Default("5m").DurationVar(&f.timeout)
	app.Flag("cluster-id", "ID of this cluster in signed provenance; by default the UID of namespace kube-system. Set it to the former cluster's where Artifacts were restored from a backup.").StringVar(&f.clusterID)
	app.Flag("blob-check-interval", "Interval at which the registry is asked for all blobs of each Artifact; 0 for never.").Default("24h").DurationVar(&f.blobInterval)
	app.Flag("poll-state-metric", "Interval at which Artifacts are counted by state, for metrics; 0 for never.").Default("5s").DurationVar(&f.stateInterval)
	app.Flag("max-reconcile-rate", "Maximum number of reconciles per second.").Default("100").IntVar(&f.maxReconcileRate)
	app.Flag("progress-writes-per-minute", "Maximum number of times per minute that the progress of runs, of all together, is written to Artifacts; 0 for never.").Default("30").IntVar(&f.progressWrites)
	app.Flag("max-runs", "Maximum number of runs that execute at a time, of all together, counted in Pods; 0 for any number. Others wait, with reason Queued. job.maxRuns of a ClusterProviderConfig limits those of the config.").Default("0").IntVar(&f.maxRuns)
	app.Flag("metrics-bind-address", "Address at which metrics are served; 0 to serve none.").Default(":8080").Envar("METRICS_BIND_ADDRESS").StringVar(&f.metricsAddress)
	app.Flag("metrics-secure", "Serve metrics by HTTPS, and only to accounts that may get the URL /metrics.").BoolVar(&f.metricsSecure)
	app.Flag("health-probe-bind-addr", "Address at which /healthz and /readyz are served; 0 to serve neither.").Default(":8081").Envar("HEALTH_PROBE_BIND_ADDRESS").StringVar(&f.healthAddress)
	app.Flag("enable-management-policies", "Support spec.managementPolicies. Without it (--no-enable-management-policies) an Artifact with others than the default is refused: its condition Synced is False, and nothing of it is created, changed or deleted.").Default("true").Envar("ENABLE_MANAGEMENT_POLICIES").BoolVar(&f.managementPolicies)
	app.Flag("enable-changelogs", "Send a record of each creation, update and deletion of an Artifact to a server of Crossplane's change logs, such as its sidecar. A reconcile waits for that server, up to 10 seconds.").Envar("ENABLE_CHANGE_LOGS").BoolVar(&f.changeLogs)
	app.Flag("changelogs-socket-path", "Path of the Unix socket at which the server of change logs listens.").Default("/var/run/changelogs/changelogs.sock").Envar("CHANGELOGS_SOCKET_PATH").StringVar(&f.changeLogsSocket)
	app.Flag("kit-image", "Image that contains kit, for the Kit pipeline.").Default(artifact.DefaultKitImage).StringVar(&f.images.Kit)
	app.Flag("worker-image", "Image that contains the worker; defaults to the provider's own.").StringVar(&f.images.Worker)
	app.Flag("run-namespace", "Namespace in which runs may execute, by job.namespace of a ClusterProviderConfig; repeatable. Jobs, Pods and workspaces are watched there only, and configs with another job.namespace, or none, are refused. By default runs may execute in all namespaces.").StringsVar(&f.runNamespaces)

	// A Service of the name webhook would set WEBHOOK_PORT to a URL in the Pods of its
	// namespace, so that variable is not read
	// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
	app.Flag("webhook-port", "Has no effect: the provider has no webhooks. It is for a DeploymentRuntimeConfig of several providers.").NoEnvar().Int()
	app.Flag("certs-dir", "Has no effect: the provider has no webhooks. It is for a DeploymentRuntimeConfig of several providers.").NoEnvar().String()
	return app
}

// validate returns an error that says what to write if a flag has a value that the
// provider cannot work with.
func (f *flags) validate() error {
	if f.pollInterval <= 0 {
		return errors.New("--poll must be more than 0: write 10m")
	}
	if f.timeout <= 0 {
		return errors.New("--timeout must be more than 0: write 5m")
	}
	if f.pollJitter < 0 || f.pollJitter > 99 {
		return errors.New("--poll-jitter-percentage must be from 0 to 99: write 10")
	}
	if f.maxRuns < 0 {
		return errors.New("--max-runs must not be less than 0: write 8, or 0 for any number")
	}
	if f.maxReconcileRate < 1 {
		return errors.New("--max-reconcile-rate must be more than 0: write 100")
	}
	if f.changeLogs && f.changeLogsSocket == "" {
		return errors.New("--changelogs-socket-path must be the path of a Unix socket: write /var/run/changelogs/changelogs.sock")
	}
	return nil
}
