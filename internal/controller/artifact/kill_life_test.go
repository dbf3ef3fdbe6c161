package artifact

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource/fake"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// States of a run's Job.
const (
	stillRunning = ""
	waits        = "Waits" // It has no Pod yet.
	succeeds     = "Succeeded"
	// Anything else is the reason that it fails for.
)

// mostRounds bounds how often a life reconciles until it is where it should be.
const mostRounds = 40

// A life is one Artifact's, in a namespace of its own, with a provider that is
// called round by round and can be killed, and a cluster that moves between
// the rounds. It uses the pipeline and the ProviderConfig that make the most.
type life struct {
	*world

	a    *modelv1alpha1.Artifact
	base client.WithWatch

	// runsIn are the namespaces in which objects of runs may be.
	runsIn []string

	fuse *fuse

	// keys of the provider.
	keys provenance.Keys

	// goes says how a Job goes.
	goes func(*batchv1.Job) string

	// startPatience is how long a run may take to start.
	startPatience time.Duration

	provider *managed.Reconciler
	rounds   int
	onRound  func() // Before each round, where set.

	// leavesNothing says that nothing is left to the garbage collector.
	leavesNothing bool

	pushed  map[string]string // Digests by run hash.
	orphans map[string]bool   // Pods whose Jobs are gone since the last round.
	foreign map[client.Object]string
	made    []artifact.Run
}

// newBase returns a client that lives may share, since it remembers nothing itself.
func newBase(t *testing.T) client.WithWatch {
	t.Helper()
	base, err := client.NewWithWatch(apiserver.Config(t), client.Options{Scheme: apiserver.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// newLife returns a life before the Artifact is applied.
func newLife(t *testing.T, base client.WithWatch, f *fuse) *life {
	t.Helper()
	return newLifeIn(t, base, f, "", "127.0.0.1:0")
}

// newIsolatedLife returns a life whose runs execute in another namespace than the
// Artifact's.
func newIsolatedLife(t *testing.T, base client.WithWatch, f *fuse) *life {
	t.Helper()
	return newLifeIn(t, base, f, apiserver.Namespace(t, base), "127.0.0.1:0")
}

// newLifeIn returns a life whose runs execute in a namespace, empty for the Artifact's,
// with a registry that listens at an address.
func newLifeIn(t *testing.T, base client.WithWatch, f *fuse, runs, address string) *life {
	t.Helper()
	base = remembering(base)
	store := testregistry.InMemory(false)
	fused, server := serveAt(t, address, f.registry(store)), serveAt(t, address, store)
	host := strings.TrimPrefix(fused.URL, "http://")
	r, err := registry.New(registry.Options{Host: strings.TrimPrefix(server.URL, "http://"), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, client: base, namespace: apiserver.Namespace(t, base), host: host, registry: r, runs: runs}
	l := &life{
		world: w, a: w.artifact("mortal"), base: base, fuse: f, runsIn: []string{w.runNamespace()},
		keys:          testKeys,
		goes:          func(*batchv1.Job) string { return succeeds },
		startPatience: 1000 * time.Hour,
		pushed:        map[string]string{}, orphans: map[string]bool{}, foreign: map[client.Object]string{},
	}
	l.a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	l.a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: w.namespace}
	l.configure()
	l.addForeign()
	l.provider = l.newProvider()
	return l
}

// serveAt serves at an address until the test ends.
func serveAt(t *testing.T, address string, h http.Handler) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// configure makes a ClusterProviderConfig with a Secret to be copied.
func (l *life) configure() {
	l.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "registry", Namespace: l.namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"` + l.host + `":{"username":"u","password":"p"}}}`},
	})
	config := &v1alpha1.ClusterProviderConfig{
		// Lives that end and are applied again adopt what was pushed before.
		ObjectMeta: metav1.ObjectMeta{Name: l.namespace, Annotations: map[string]string{artifact.AnnotationAdopt: "true"}},
		Spec: v1alpha1.ClusterProviderConfigSpec{Registry: v1alpha1.ClusterRegistryConfig{
			Host:      v1alpha1.RegistryHost(l.host),
			PlainHTTP: true,
			Credentials: v1alpha1.ClusterRegistryCredentials{
				Source:    xpv2.CredentialsSourceSecret,
				SecretRef: &xpv2.SecretReference{Name: "registry", Namespace: l.namespace},
			},
		}},
	}
	config.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: l.world.runs}}
	l.create(config)
	// The controllers of all other tests would look at it.
	l.t.Cleanup(func() { _ = l.base.Delete(context.Background(), config) })
}

// addForeign makes objects that look like the Artifact's and are not.
func (l *life) addForeign() {
	namespace := l.runNamespace()
	in := artifact.In(l.a, namespace)
	job := artifact.BuildJob(in, "kit:test", artifact.SelectorLabelsForArtifact(l.a.GetName()))
	job.GenerateName, job.Name = "", "foreign"
	job.Spec.Suspend = ptr.To(true)
	pvc := artifact.BuildPVC(in, artifact.SelectorLabelsForArtifact(l.a.GetName()))
	pvc.Name = "foreign"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: namespace, Labels: pvc.GetLabels()}, Type: artifact.SecretTypeCredentials}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: namespace, Labels: pvc.GetLabels()},
		Spec:       job.Spec.Template.Spec,
	}
	for _, o := range []client.Object{job, pvc, secret, pod} {
		l.create(o)
		l.foreign[o] = o.GetResourceVersion()
	}
}

// newProvider returns what a provider is after its start: nothing that another
// one remembered.
func (l *life) newProvider() *managed.Reconciler {
	direct := l.fuse.client(l.base, l.checkCreate)
	return l.newProviderOn(likeCache(direct, l.namespace), direct)
}

func (l *life) newProviderOn(cached, direct client.Client) *managed.Reconciler {
	c := &connector{
		cached: cached,
		direct: direct,
		scheme: l.base.Scheme(),
		usage:  resource.NewProviderConfigUsageTracker(cached, &v1alpha1.ProviderConfigUsage{}),
		settings: &settings.Resolver{
			Cached: cached, Direct: direct, Metadata: cached,
			Images: testImages,
		},
		recorder: event.NewNopRecorder(),
		metrics:  NewMetrics(),
		keys:     l.keys,
		// Waits are over at once.
		now:           func() time.Time { return time.Now().Add(2*time.Hour + time.Duration(l.rounds)*time.Minute) },
		startPatience: l.startPatience,
	}
	return newReconciler(&fake.Manager{Client: cached, Scheme: c.scheme}, cached, c, managed.WithManagementPolicies())
}

// checkCreate says what is wrong with making an object now.
func (l *life) checkCreate(ctx context.Context, o client.Object) error {
	job, ok := o.(*batchv1.Job)
	if !ok {
		return nil
	}
	err := l.base.Get(ctx, client.ObjectKeyFromObject(job), &batchv1.Job{})
	if err == nil {
		return nil // The API server will refuse it.
	}
	if !kerrors.IsNotFound(err) {
		return err
	}
	jobs, pods := l.runs()
	for i := range jobs {
		if isLive(&jobs[i]) {
			l.t.Errorf("Job %q of run %+v is made while %q of run %+v is live", job.GetName(), artifact.RunOf(job), jobs[i].GetName(), artifact.RunOf(&jobs[i]))
		}
	}
	for i := range pods {
		l.t.Errorf("Job %q of run %+v is made while Pod %q of run %+v is there", job.GetName(), artifact.RunOf(job), pods[i].GetName(), artifact.RunOf(&pods[i]))
	}
	a := l.a.DeepCopy()
	if err := l.get(a); err == nil && (!meta.FinalizerExists(a, managed.FinalizerName) || artifact.RunOf(a) == (artifact.Run{})) {
		l.t.Errorf("Job %q is made before the Artifact holds its finalizer and its run: %v", job.GetName(), a.GetFinalizers())
	}
	l.made = append(l.made, artifact.RunOf(job))
	if artifact.NeedsWorkspace(l.a) {
		l.checkWorkspace(ctx, job)
	}
	return nil
}

// checkWorkspace reports whether a Job that is made has its workspace. Where the
// Artifact is gone, the Job cannot start and is the garbage collector's.
func (l *life) checkWorkspace(ctx context.Context, job *batchv1.Job) {
	if kerrors.IsNotFound(l.get(l.a.DeepCopy())) {
		return
	}
	pvc := &corev1.PersistentVolumeClaim{}
	a := l.a.DeepCopy()
	if l.get(a) != nil {
		return
	}
	key := client.ObjectKey{Namespace: job.GetNamespace(), Name: artifact.WorkspaceName(artifact.In(a, job.GetNamespace()))}
	if err := l.base.Get(ctx, key, pvc); err != nil || pvc.GetDeletionTimestamp() != nil {
		l.t.Errorf("Job %q is made without its workspace: %v", job.GetName(), err)
	}
	if got, want := artifact.RunOf(pvc).Hash, artifact.RunOf(job).Hash; got != want {
		l.t.Errorf("Job %q of run hash %s is made on a workspace of %s", job.GetName(), want, got)
	}
}

// runs returns the Jobs and Pods of Artifacts of the life's name.
func (l *life) runs() ([]batchv1.Job, []corev1.Pod) {
	l.t.Helper()
	var jobs []batchv1.Job
	var pods []corev1.Pod
	selector := client.MatchingLabels(artifact.SelectorLabelsForArtifact(l.a.GetName()))
	for _, ns := range l.runsIn {
		jobList, podList := &batchv1.JobList{}, &corev1.PodList{}
		err := errors.Join(
			l.base.List(l.t.Context(), jobList, client.InNamespace(ns), selector),
			l.base.List(l.t.Context(), podList, client.InNamespace(ns), selector),
		)
		if err != nil {
			l.t.Fatal(err)
		}
		jobs, pods = append(jobs, jobList.Items...), append(pods, podList.Items...)
	}
	return without(jobs, func(j batchv1.Job) string { return j.GetName() }), without(pods, func(p corev1.Pod) string { return p.GetName() })
}

// without leaves out the foreign objects.
func without[T any](all []T, name func(T) string) []T {
	var out []T
	for _, o := range all {
		if name(o) != "foreign" {
			out = append(out, o)
		}
	}
	return out
}

// leftOver says what is there of the Artifact's runs.
func (l *life) leftOver() string {
	l.t.Helper()
	jobs, pods := l.runs()
	pvc, secrets := l.belongings()
	if len(jobs)+len(pods)+len(secrets) > 0 || pvc != nil {
		return fmt.Sprintf("there are %d Jobs, %d Pods, %d Secrets, workspace %v", len(jobs), len(pods), len(secrets), pvc != nil)
	}
	return ""
}

// isLive reports whether a Job may still have a Pod running.
func isLive(j *batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return j.GetDeletionTimestamp() == nil
}

// reach reconciles until the life is where it should be, with another provider
// after one that was killed. A kubelet, a Job controller and a garbage
// collector move in between.
func (l *life) reach(what string, missing func() string) {
	l.t.Helper()
	last := ""
	for range mostRounds {
		l.reconcile()
		l.move()
		if last = missing(); last == "" || l.t.Failed() {
			return
		}
	}
	l.t.Fatalf("%s: %s", what, last)
}

func (l *life) reconcile() {
	l.rounds++
	l.fuse.wrote = false
	if l.onRound != nil {
		l.onRound()
	}
	if l.fuse.dead {
		l.fuse.dead = false
		l.provider = l.newProvider()
	}
	// What goes wrong shows in the next rounds, or never.
	_, _ = l.provider.Reconcile(l.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.a)})
}
