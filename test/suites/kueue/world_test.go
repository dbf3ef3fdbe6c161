package kueue

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

const (
	labelQueue    = "kueue.x-k8s.io/queue-name"
	labelPriority = "kueue.x-k8s.io/priority-class"

	speech = "test/silero-vad"
)

// A team is a namespace whose runs execute in another one, which has a LocalQueue of a
// ClusterQueue that lets one Pod run at a time.
type team struct {
	t         *testing.T
	namespace string
	runs      string
}

func newTeam(t *testing.T) *team {
	t.Helper()
	if _, err := models.WriteSpeech(t.Context(), local.Cluster.HubDir(), speech); err != nil {
		t.Fatal(err)
	}
	n := &team{t: t}
	n.namespace, n.runs = n.newNamespace("team-"), n.newNamespace("runs-")
	// The flavor's nodes are told by a label, which Kueue adds to each Pod's nodeSelector.
	n.apply(fmt.Sprintf(`
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: %[1]s}
spec:
  nodeLabels: {kubernetes.io/hostname: %[2]s}
  tolerations: [{key: example.com/pool, operator: Exists}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: %[1]s}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
    - coveredResources: [pods, cpu, memory]
      flavors:
        - name: %[1]s
          resources: [{name: pods, nominalQuota: 1}, {name: cpu, nominalQuota: 64}, {name: memory, nominalQuota: 64Gi}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: low}
value: 1
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: high}
value: 1000
`, n.runs, local.Cluster.NodeName()))
	return n
}

func (n *team) newNamespace(prefix string) string {
	n.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: prefix, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	n.create(ns)
	return ns.GetName()
}

// addQueue adds the LocalQueue of the namespace for runs.
func (n *team) addQueue() {
	n.t.Helper()
	n.apply(fmt.Sprintf(`
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: runs, namespace: %[1]s}
spec: {clusterQueue: %[1]s}
`, n.runs))
}

func (n *team) apply(manifest string) {
	n.t.Helper()
	if err := local.Apply(n.t.Context(), []byte(manifest)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *team) create(o client.Object) {
	n.t.Helper()
	if err := local.Client.Create(n.t.Context(), o); err != nil {
		n.t.Fatal(err)
	}
}

// config creates a ClusterProviderConfig whose runs wait in the team's queue, and returns
// its name.
func (n *team) config(name string, change func(*v1alpha1.ClusterProviderConfigSpec)) string {
	n.t.Helper()
	spec := local.Config.DeepCopy()
	spec.Job.Namespace = n.runs
	spec.Job.Labels = map[string]string{labelQueue: "runs"}
	change(spec)
	name = n.namespace + "-" + name
	n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *spec})
	return name
}

// artifact creates an Artifact of a model with this config.
func (n *team) artifact(name, config, model string, pipeline modelv1alpha1.PipelineType) *modelv1alpha1.Artifact {
	n.t.Helper()
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: config}},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: model}},
				Target:   &modelv1alpha1.Target{Repository: n.namespace + "/" + name, Tag: "v1"},
				Pipeline: pipeline,
			},
		},
	}
	n.create(a)
	return a
}

// eventually polls until the check says nothing more.
func (n *team) eventually(what string, check func() string) {
	n.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(n.t.Context(), 200*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		n.t.Fatalf("%s: %s", what, last)
	}
}

// waitReady waits for a Ready condition with this status, reason and part of a message.
func (n *team) waitReady(a *modelv1alpha1.Artifact, status corev1.ConditionStatus, reason, message string) {
	n.t.Helper()
	n.eventually("Ready="+string(status)+" "+reason+" "+message, func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		c, synced := a.GetCondition(xpv2.TypeReady), a.GetCondition(xpv2.TypeSynced)
		if c.Status != status || string(c.Reason) != reason || !strings.Contains(c.Message, message) {
			return fmt.Sprintf("Ready=%s %s %q, Synced=%s %s %q", c.Status, c.Reason, c.Message, synced.Status, synced.Reason, synced.Message)
		}
		return ""
	})
	n.t.Logf("%s: %s %s", a.GetName(), reason, a.GetCondition(xpv2.TypeReady).Message)
}

// waitRunning waits until the Artifact's run is running.
func (n *team) waitRunning(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	n.eventually("running", func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		if p := a.Status.AtProvider.Phase; p != modelv1alpha1.PhaseRunning {
			return fmt.Sprintf("phase %s: %s", p, a.GetCondition(xpv2.TypeReady).Message)
		}
		return ""
	})
}

// job returns the Artifact's Job.
func (n *team) job(a *modelv1alpha1.Artifact) *batchv1.Job {
	n.t.Helper()
	jobs := &batchv1.JobList{}
	if err := local.Client.List(n.t.Context(), jobs, client.InNamespace(n.runs), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
		n.t.Fatal(err)
	}
	if len(jobs.Items) != 1 {
		n.t.Fatalf("want one Job of Artifact %s, got %d", a.GetName(), len(jobs.Items))
	}
	return &jobs.Items[0]
}

// checkFirstRun checks that the Artifact's first run was its only one, and did not fail.
func (n *team) checkFirstRun(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	if s := a.Status.AtProvider; s.Run != 1 || s.Failures != 0 || s.Failure != nil {
		n.t.Errorf("Artifact %s: want one run without a failure, got run %d, %d failures, %+v", a.GetName(), s.Run, s.Failures, s.Failure)
	}
}

// delete deletes Artifacts and waits until they are gone, and what runs have in the cluster.
func (n *team) delete(all ...*modelv1alpha1.Artifact) {
	n.t.Helper()
	for _, a := range all {
		if err := local.Client.Delete(n.t.Context(), a); err != nil {
			n.t.Fatal(err)
		}
	}
	n.eventually("nothing left", func() string {
		left := ""
		for _, a := range all {
			if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); client.IgnoreNotFound(err) != nil || err == nil {
				left += "Artifact " + a.GetName() + " "
			}
		}
		out, err := local.Cluster.Kubectl(n.t.Context(), "get", "jobs,pods,pvc,secrets,workloads", "--namespace="+n.runs, "--output=name").Output()
		if err != nil {
			return err.Error()
		}
		return left + strings.TrimSpace(string(out))
	})
}

// The model of a Hub over a line that is not fast. A run has four of its files in flight.
const (
	slowModel    = "test/slow"
	slowFiles    = 8
	slowFileSize = 12 << 20
	slowInFlight = 4 * slowFileSize
	slowTotal    = slowFiles * slowFileSize
	slowRate     = 12 << 20 // Bytes a second.
)

// slowHub starts a Hub of one model whose transfer takes some seconds.
func (n *team) slowHub() (*hub.Handler, v1alpha1.HubEndpoint) {
	n.t.Helper()
	files := map[string]string{}
	for i := range slowFiles {
		b := make([]byte, slowFileSize)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		files["model-"+strconv.Itoa(i)+".safetensors"] = string(b)
	}
	dir := n.t.TempDir()
	if err := models.Write(dir, slowModel, "main", files); err != nil {
		n.t.Fatal(err)
	}
	handler := hub.NewHandler(dir)
	listener, err := local.Cluster.Listen(n.t.Context(), 0)
	if err != nil {
		n.t.Fatal(err)
	}
	line := &hub.Line{Total: slowRate}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(line.Listen(listener)) }()
	n.t.Cleanup(func() { _ = s.Close() })
	return handler, v1alpha1.HubEndpoint("http://" + listener.Addr().String())
}
