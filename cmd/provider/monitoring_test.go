package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/monitoring"
)

// TestMonitoring has a real Prometheus scrape the provider while one run succeeds, some
// fail, one is running and one is queued, and checks that each expression of
// examples/monitoring has data: an expression that names a metric or a label that does
// not exist is no error to Prometheus, and its alert never fires.
func TestMonitoring(t *testing.T) {
	monitoring.Program(t, "prometheus") // Before the time of the test counts.
	rules, file, err := monitoring.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	queries, err := monitoring.Queries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := newMonitored(t)
	m.clear()
	m.p.start(nil, "--metrics-secure", "--max-runs=1", "--poll=2s", "--poll-jitter-percentage=0")
	m.p.waitLog(artifactsStarted)
	prometheus := monitoring.Start(t, m.p.metrics, m.token, file)
	m.p.eventually("a scrape", func() string {
		if up, err := prometheus.Values(t.Context(), "up == 1"); err != nil || len(up) == 0 {
			return fmt.Sprintf("there was none: %v", err)
		}
		return ""
	})
	m.play()

	for _, r := range rules {
		queries["alert "+r.Alert] = []string{r.Expr}
	}
	m.p.eventually("data for each expression", func() string {
		missing := ""
		for where, exprs := range queries {
			exprs = slices.DeleteFunc(exprs, func(expr string) bool {
				got, err := prometheus.Values(t.Context(), withData(expr))
				if err != nil {
					missing += fmt.Sprintf("\n%s: %v", withData(expr), err)
				}
				return len(got) > 0
			})
			if queries[where] = exprs; len(exprs) > 0 {
				missing += fmt.Sprintf("\n%s: no data for %q", where, exprs)
			}
		}
		return missing
	})
	scraped, err := prometheus.LabelValues(t.Context(), "__name__")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documented(t) {
		if !slices.Contains(scraped, name) && !slices.Contains(scraped, name+"_bucket") {
			t.Errorf("%s is documented, and was not scraped", name)
		}
	}
}

var (
	// compares matches a comparison with what it is compared to. The operators in
	// braces, which match labels, have no spaces around them.
	compares = regexp.MustCompile(` (==|!=|<=|>=|<|>) `)

	// absent matches what is asked for to be absent.
	absent = regexp.MustCompile(`^absent\((.*)\)$`)

	// labelValues matches the query of a variable of Grafana.
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

	// variables are those of Grafana, with what they may stand for.
	variables = strings.NewReplacer("$__rate_interval", "1m", "$namespace", ".+")
)

// withData returns an expression that has data exactly if an expression of a rule or a
// dashboard has the metrics and labels that it is about. With bool, a comparison has a
// value for all that is compared, and not only for what should alert; what should be
// absent is asked for itself.
func withData(expr string) string {
	expr = variables.Replace(strings.TrimSpace(expr))
	expr = absent.ReplaceAllString(expr, "$1")
	expr = labelValues.ReplaceAllString(expr, "count by ($2) ($1)")
	return compares.ReplaceAllString(expr, " $1 bool ")
}

// documented returns the metrics of the provider that the documentation names, and all
// that the reference lists.
func documented(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range artifactcontroller.AllMetrics() {
		out = append(out, m.Name)
	}
	name := regexp.MustCompile(`\b(provider_kitops|crossplane_managed_resource)_[a-z_]*[a-z]\b`)
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		out = append(out, name.FindAllString(string(text), -1)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A monitored is a provider whose Artifacts have all states that are monitored. The test
// plays the kubelet and the Job controller.
type monitored struct {
	t        *testing.T
	p        *provider
	token    string // Of an account that may read metrics.
	host     string
	registry *registry.Client
}

// newMonitored returns a provider that has not started, with its permissions, a registry
// and configs.
func newMonitored(t *testing.T) *monitored {
	t.Helper()
	m := &monitored{t: t, p: newProvider(t)}
	installed, _ := accesstest.Installed(t, "without-crossplane.yaml")
	m.p.account.Grant(t, "installed", installed)
	scraper := accesstest.NewAccount(m.p.kube, m.p.account.Namespace)
	scraper.Name = "scraper"
	scraper.Grant(t, "scraper", []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}})
	m.token = tokenOf(t, m.p.kube, scraper)

	server := httptest.NewServer(testregistry.InMemory(true))
	t.Cleanup(server.Close)
	m.host = server.Listener.Addr().String()
	var err error
	if m.registry, err = registry.New(registry.Options{Host: m.host, PlainHTTP: true}); err != nil {
		t.Fatal(err)
	}
	spec := v1alpha1.RegistryConfig{Host: v1alpha1.RegistryHost(m.host), PlainHTTP: true, Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone}}
	config := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: m.p.account.Namespace, Name: "default"}}
	config.Spec.Registry = spec
	// A Hub without models.
	hub := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(hub.Close)
	config.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(hub.URL)}
	m.create(config)
	cluster := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: m.p.account.Namespace}}
	cluster.Spec.Registry.Host, cluster.Spec.Registry.PlainHTTP = spec.Host, true
	cluster.Spec.Registry.Credentials.Source = xpv2.CredentialsSourceNone
	m.create(cluster)
	missing := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: m.p.account.Namespace, Name: "missing"}}
	missing.Spec.Registry = spec
	missing.Spec.Registry.Credentials = v1alpha1.RegistryCredentials{
		Source:    xpv2.CredentialsSourceSecret,
		SecretRef: &xpv2.LocalSecretReference{Name: "missing"},
	}
	m.create(missing)
	return m
}

// play brings Artifacts into all states. With a limit of one run, each waits for the one
// before.
func (m *monitored) play() {
	m.t.Helper()
	ready := m.artifact("ready")
	job := m.job(ready)
	m.finish(job, m.stage(job, "models/ready"), false)
	m.waitFor(ready, xpv2.TypeReady, string(xpv2.ReasonAvailable))

	for _, reason := range []outcome.Reason{outcome.Gated, outcome.RateLimited} {
		a := m.artifact("fails-" + strings.ToLower(string(reason)))
		m.finish(m.job(a), fmt.Sprintf(`{"failure":{"reason":%q,"message":"as the test has it"}}`, reason), true)
		m.waitFor(a, xpv2.TypeReady, string(reason))
	}
	m.job(m.artifact("runs"))
	m.waitFor(m.artifact("waits"), xpv2.TypeReady, string(outcome.Queued))

	// A person has its source asked at once, which has no such model.
	m.p.eventually("annotate", func() string {
		if err := m.p.kube.Get(m.t.Context(), client.ObjectKeyFromObject(ready), ready); err != nil {
			return err.Error()
		}
		metav1.SetMetaDataAnnotation(&ready.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
		if err := m.p.kube.Update(m.t.Context(), ready); err != nil {
			return err.Error()
		}
		return ""
	})
	m.waitFor(ready, modelv1alpha1.TypeUpToDate, string(outcome.NotFound))
}

// clear deletes what other tests have left, whose runs would count against the limit.
func (m *monitored) clear() {
	m.t.Helper()
	list := &modelv1alpha1.ArtifactList{}
	if err := m.p.kube.List(m.t.Context(), list); err != nil {
		m.t.Fatal(err)
	}
	for i := range list.Items {
		a := &list.Items[i]
		a.SetFinalizers(nil)
		if err := m.p.kube.Update(m.t.Context(), a); client.IgnoreNotFound(err) != nil {
			m.t.Fatal(err)
		}
		if err := m.p.kube.Delete(m.t.Context(), a); client.IgnoreNotFound(err) != nil {
			m.t.Fatal(err)
		}
		if err := m.p.kube.DeleteAllOf(m.t.Context(), &batchv1.Job{}, client.InNamespace(a.GetNamespace())); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *monitored) create(o client.Object) {
	m.t.Helper()
	if err := m.p.kube.Create(m.t.Context(), o); err != nil {
		m.t.Fatal(err)
	}
}

// artifact creates an Artifact that follows its source.
func (m *monitored) artifact(name string) *modelv1alpha1.Artifact {
	m.t.Helper()
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: m.p.account.Namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"}},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source: &modelv1alpha1.Source{
					HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model", Revision: "main"}, RevisionPolicy: modelv1alpha1.RevisionFollow,
				},
				Target:   &modelv1alpha1.Target{Repository: "models/" + name, Tag: "v1"},
				Pipeline: modelv1alpha1.PipelineStream,
			},
		},
	}
	m.create(a)
	return a
}

// job waits for an Artifact's Job.
func (m *monitored) job(a *modelv1alpha1.Artifact) *batchv1.Job {
	m.t.Helper()
	out := &batchv1.Job{}
	m.p.eventually("Job of "+a.GetName(), func() string {
		jobs := &batchv1.JobList{}
		if err := m.p.kube.List(m.t.Context(), jobs, client.InNamespace(a.GetNamespace()), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
			return err.Error()
		}
		if len(jobs.Items) != 1 {
			_ = m.p.kube.Get(m.t.Context(), client.ObjectKeyFromObject(a), a)
			return fmt.Sprintf("there are %d: %v", len(jobs.Items), a.Status.Conditions)
		}
		jobs.Items[0].DeepCopyInto(out)
		return ""
	})
	return out
}

// stage pushes what a run would, and returns the run's result.
func (m *monitored) stage(job *batchv1.Job, repository string) string {
	m.t.Helper()
	tag := ""
	for _, arg := range job.Spec.Template.Spec.Containers[0].Args {
		if after, ok := strings.CutPrefix(arg, "--staging-tag="); ok {
			tag = after
		}
	}
	config := []byte("{}")
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if err := m.registry.PushBlob(m.t.Context(), repository, d, strings.NewReader(string(config))); err != nil {
		m.t.Fatal(err)
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`, ocispec.MediaTypeImageManifest, d.MediaType, d.Digest)
	md := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := m.registry.PushManifest(m.t.Context(), repository, md, manifest, tag); err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q,"license":"mit"}`, md.Digest, strings.Repeat("a", 40))
}

// finish ends a Job with a result.
func (m *monitored) finish(job *batchv1.Job, result string, failed bool) {
	m.t.Helper()
	now := metav1.NewTime(time.Now().Add(time.Second))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: job.GetName() + "-", Namespace: job.GetNamespace(), Labels: job.Spec.Template.Labels, Annotations: job.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	m.create(pod)
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: result, FinishedAt: now}},
	}}
	if err := m.p.kube.Status().Update(m.t.Context(), pod); err != nil {
		m.t.Fatal(err)
	}
	m.p.eventually("status of the Job", func() string {
		if err := m.p.kube.Get(m.t.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			return err.Error()
		}
		job.Status = batchv1.JobStatus{StartTime: ptr.To(metav1.Now()), UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{}}
		met, ended := batchv1.JobSuccessCriteriaMet, batchv1.JobComplete
		if failed {
			job.Status.Failed, met, ended = 1, batchv1.JobFailureTarget, batchv1.JobFailed
		} else {
			job.Status.Succeeded, job.Status.CompletionTime = 1, &now
		}
		for _, c := range []batchv1.JobConditionType{met, ended} {
			job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: now})
		}
		if err := m.p.kube.Status().Update(m.t.Context(), job); err != nil {
			return err.Error()
		}
		return ""
	})
}

// waitFor waits until a condition of an Artifact has a reason.
func (m *monitored) waitFor(a *modelv1alpha1.Artifact, kind xpv2.ConditionType, reason string) {
	m.t.Helper()
	m.p.eventually(fmt.Sprintf("%s of %s is %s", kind, a.GetName(), reason), func() string {
		if err := m.p.kube.Get(m.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		if c := a.GetCondition(kind); string(c.Reason) != reason {
			return fmt.Sprintf("%v", a.Status.Conditions)
		}
		return ""
	})
}
