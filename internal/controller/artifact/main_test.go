package artifact

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// atOnce is how many tests run at once where -parallel does not say: most of
// their time they wait.
const atOnce = "6"

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	_ = flag.Set("test.parallel", atOnce) // The command line comes later.
	os.Exit(apiserver.Main(m))
}

// patience is how long a test waits for the controllers.
const patience = 30 * time.Second

// startControllers starts the controllers for a namespace, and a registry, for
// one test, which runs beside others from here on. There is no kubelet and no Job
// controller: the test plays them.
func startControllers(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return startControllersAlone(t)
}

// startControllersAlone does the same for a test that no controllers of another
// test may disturb.
func startControllersAlone(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	startManager(t, w.namespace, setupConfigs)
	return w
}

// newWorld returns a namespace with a ProviderConfig, and a registry, without
// controllers.
func newWorld(t *testing.T) *world {
	t.Helper()
	c := apiserver.Client(t)
	w := &world{t: t, client: c, namespace: apiserver.Namespace(t, c), requests: &requests{}}
	w.startRegistry()
	w.create(&v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.namespace},
		Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
			Host:        v1alpha1.RegistryHost(w.host),
			PlainHTTP:   true,
			Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
		}},
	})
	return w
}

// setupConfigs adds the controllers of ProviderConfigs to a manager.
func setupConfigs(mgr ctrl.Manager, o controller.Options) error {
	return config.Setup(mgr, config.Options{Options: o})
}

// startManager starts the controller of Artifacts for a namespace, and further
// ones, until the test ends.
func startManager(t *testing.T, namespace string, further ...func(ctrl.Manager, controller.Options) error) {
	t.Helper()
	startManagerAs(t, apiserver.Config(t), []string{namespace}, Options{Images: testImages}, further...)
}

// testImages are those of runs in tests, which nothing executes.
var testImages = settings.Images{Kit: "kit:test", Worker: "worker:test"}

// startManagerAs starts the same controllers for some namespaces with a configuration of
// their own for the API server.
func startManagerAs(t *testing.T, cfg *rest.Config, namespaces []string, options Options, further ...func(ctrl.Manager, controller.Options) error) {
	t.Helper()
	watched := map[string]cache.Config{}
	for _, ns := range namespaces {
		watched[ns] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:  apiserver.Scheme(t),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: watched},
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		// Each test has a manager of its own, and does not wait for what its
		// goroutines still do when it is over: their contexts have ended.
		Controller:              ctrlConfig(),
		GracefulShutdownTimeout: ptr.To[time.Duration](0),
	})
	if err != nil {
		t.Fatal(err)
	}
	features := &feature.Flags{}
	features.Enable(feature.EnableBetaManagementPolicies)
	options.Options = controller.Options{
		Logger:                  logging.NewNopLogger(),
		MaxConcurrentReconciles: 4,
		PollInterval:            time.Hour,
		GlobalRateLimiter:       ratelimiter.NewGlobal(100),
		Features:                features,
	}
	options.Keys = func(context.Context) (provenance.Keys, error) { return testKeys, nil }
	options.followAnywhere = true                // Buckets of tests are at the loopback address.
	options.BlobCheckInterval = 1000 * time.Hour // Where a test asks for it.
	for _, setup := range further {
		if err := setup(mgr, options.Options); err != nil {
			t.Fatal(err)
		}
	}
	if err := Setup(mgr, options); err != nil {
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

// A world is a namespace, the registry, and what plays the cluster in it.
type world struct {
	t         *testing.T
	client    client.Client
	namespace string
	host      string // The registry's.
	registry  *registry.Client

	// runs is the namespace in which runs execute; empty for the Artifact's own.
	runs string

	// patience is how long a test waits; 0 for the constant.
	patience time.Duration

	// stopRegistry takes the registry down.
	stopRegistry func()

	// requests of the controllers to the registry.
	requests *requests

	looks int
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// artifact returns a streamed Artifact that is not created yet.
func (w *world) artifact(name string) *modelv1alpha1.Artifact {
	return &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{
				ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"},
			},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model", Revision: "main"}},
				Target:   &modelv1alpha1.Target{Repository: "models/" + name, Tag: "v1"},
				Pipeline: modelv1alpha1.PipelineStream,
			},
		},
	}
}

// runNamespace returns the namespace in which runs execute.
func (w *world) runNamespace() string { return cmp.Or(w.runs, w.namespace) }

// get reads the object again.
func (w *world) get(o client.Object) error {
	return w.client.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
}

// eventually waits until the check says nothing more.
func (w *world) eventually(what string, check func() string) {
	w.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, cmp.Or(w.patience, patience), true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		w.t.Fatalf("%s: %s", what, last)
	}
}

// job waits for the one live Job of the Artifact's run hash.
func (w *world) job(a *modelv1alpha1.Artifact, number int64) *batchv1.Job {
	w.t.Helper()
	out := &batchv1.Job{}
	w.eventually("Job", func() string {
		jobs := &batchv1.JobList{}
		if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.runNamespace()), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
			return err.Error()
		}
		if len(jobs.Items) != 1 {
			return fmt.Sprintf("there are %d Jobs", len(jobs.Items))
		}
		jobs.Items[0].DeepCopyInto(out)
		if run := artifact.RunOf(out); run.Number != number || run.Hash != artifact.RunHash(a) {
			return fmt.Sprintf("the Job is of run %+v", run)
		}
		return ""
	})
	return out
}

// copies returns the Secrets with copied credentials of an Artifact's runs.
func (w *world) copies(a *modelv1alpha1.Artifact) []corev1.Secret {
	w.t.Helper()
	secrets, err := artifact.OwnedSecrets(w.t.Context(), w.client, artifact.In(a, w.runNamespace()))
	if err != nil {
		w.t.Fatal(err)
	}
	return secrets
}

// waitNoCopies waits until there are none.
func (w *world) waitNoCopies(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("no copied credentials", func() string { return strings.Repeat("a Secret is there; ", len(w.copies(a))) })
}

// copyFor returns a Secret as the provider makes it for an Artifact's runs. It is
// not created yet.
func (w *world) copyFor(a *modelv1alpha1.Artifact) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: a.GetName() + "-copy", Namespace: w.namespace, Labels: artifact.SelectorLabelsForArtifact(a.GetName()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)},
		},
		Type: artifact.SecretTypeCredentials,
		Data: map[string][]byte{
			corev1.DockerConfigJsonKey: []byte(testregistry.DockerConfigFor(w.host)), "hub-token": []byte("t"), "ca.crt": []byte("c"),
		},
	}
}

// podFor makes a Pod as the Job controller would.
func (w *world) podFor(job *batchv1.Job) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    job.GetName() + "-",
			Namespace:       job.GetNamespace(),
			Labels:          job.Spec.Template.Labels,
			Annotations:     job.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	w.create(pod)
	return pod
}

// finish ends the Job with this result, as kubelet and Job controller would.
func (w *world) finish(job *batchv1.Job, r outcome.Result, message string) {
	w.t.Helper()
	w.finishPod(job, w.podFor(job), r, message)
}

// finishPod does the same with the Job's Pod that is there.
func (w *world) finishPod(job *batchv1.Job, pod *corev1.Pod, r outcome.Result, message string) {
	w.t.Helper()
	now := metav1.Now()
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: now}},
	}}
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("Job status", func() string {
		if err := w.get(job); err != nil {
			return err.Error()
		}
		job.Status.Active, job.Status.Ready = 0, nil
		if job.Status.StartTime == nil {
			job.Status.StartTime = &now
		}
		job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
		if r.Failure != nil {
			job.Status.Failed = 1
			job.Status.Conditions = []batchv1.JobCondition{
				{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: now},
			}
		} else {
			job.Status.Succeeded = 1
			job.Status.CompletionTime = &now
			job.Status.Conditions = []batchv1.JobCondition{
				{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now},
			}
		}
		if err := w.client.Status().Update(w.t.Context(), job); err != nil {
			return err.Error()
		}
		return ""
	})
}

// succeed has the run of this number push content and end.
func (w *world) succeed(a *modelv1alpha1.Artifact, number int64, content string) string {
	w.t.Helper()
	return w.succeedAt(a, number, content, testCommit)
}

// succeedAt has the run of this number push content of a commit and end.
func (w *world) succeedAt(a *modelv1alpha1.Artifact, number int64, content, commit string) string {
	w.t.Helper()
	job := w.job(a, number)
	d := w.stageFor(job.Spec.Template.Spec, a.Spec.ForProvider.Target.Repository, content)
	w.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q,"license":"mit"}`, d, commit))
	return d
}

// waitReady waits for a Ready condition with this status and reason.
func (w *world) waitReady(a *modelv1alpha1.Artifact, status corev1.ConditionStatus, reason string) {
	w.t.Helper()
	w.eventually("Ready="+string(status)+" "+reason, func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		c := a.GetCondition(xpv2.TypeReady)
		if c.Status != status || string(c.Reason) != reason || c.ObservedGeneration != a.GetGeneration() {
			return fmt.Sprintf("Ready=%s %s %q for generation %d of %d; Synced: %s", c.Status, c.Reason, c.Message,
				c.ObservedGeneration, a.GetGeneration(), a.GetCondition(xpv2.TypeSynced).Message)
		}
		return ""
	})
}

// waitGone waits until the object is gone.
func (w *world) waitGone(o client.Object) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%T gone", o), func() string {
		err := w.get(o)
		if client.IgnoreNotFound(err) != nil {
			return err.Error()
		}
		if err == nil {
			return "is still there"
		}
		return ""
	})
}

// waitGoneWithPods waits until an Artifact is gone, and plays the garbage
// collector for its Pods.
func (w *world) waitGoneWithPods(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("Artifact gone", func() string {
		w.deletePods()
		if w.get(a) == nil {
			return "it is still there: " + a.GetCondition(xpv2.TypeSynced).Message
		}
		return ""
	})
}

// waitNoJob waits until there is no Job. There is no second one before the first
// one's Pods are gone.
func (w *world) waitNoJob() {
	w.t.Helper()
	w.eventually("no Job", func() string {
		jobs := &batchv1.JobList{}
		if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.runNamespace())); err != nil {
			return err.Error()
		}
		return strings.Repeat("a Job is there; ", len(jobs.Items))
	})
}

// deletePods plays the garbage collector for Pods whose Jobs are gone.
func (w *world) deletePods() {
	w.t.Helper()
	if err := w.client.DeleteAllOf(w.t.Context(), &corev1.Pod{}, client.InNamespace(w.runNamespace()), client.GracePeriodSeconds(0)); err != nil {
		w.t.Fatal(err)
	}
}

// update changes the Artifact's spec.
func (w *world) update(a *modelv1alpha1.Artifact, change func(*modelv1alpha1.Artifact)) {
	w.t.Helper()
	w.change(a, func() { change(a) })
}

// updateConfig changes the spec of the namespace's ProviderConfig.
func (w *world) updateConfig(change func(*v1alpha1.ProviderConfigSpec)) *v1alpha1.ProviderConfig {
	w.t.Helper()
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.namespace}}
	w.change(pc, func() { change(&pc.Spec) })
	return pc
}

// change changes an object, which controllers may write at the same time.
func (w *world) change(o client.Object, change func()) {
	w.t.Helper()
	w.eventually("update", func() string {
		if err := w.get(o); err != nil {
			return err.Error()
		}
		change()
		if err := w.client.Update(w.t.Context(), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

func ctrlConfig() ctrlconfig.Controller {
	return ctrlconfig.Controller{SkipNameValidation: ptr.To(true)}
}

// credentialsSecret returns a Secret with these values.
func credentialsSecret(namespace, name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}
