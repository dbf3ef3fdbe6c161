package plugin_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

func TestRetry(t *testing.T) {
	w := newWorld(t)
	w.fill(t)
	got := w.run(t, "", "retry", "failed")
	if diff := cmp.Diff(result{out: w.namespace + "/failed: another run is requested; run 3 has failed: Unauthorized\n"}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("What is requested should be said: -want, +got:\n%s", diff)
	}
	first, ok := meta.GetReconcileRequest(w.get(t, "failed"))
	if !ok || first == "" {
		t.Error("The provider should find a request in the Artifact's annotation.")
	}
	if got := w.run(t, "", "retry", "--failed"); got.code != 0 || strings.Count(got.out, "\n") != 1 {
		t.Errorf("Only what has failed should be retried: got %+v", got)
	}
	if second, _ := meta.GetReconcileRequest(w.get(t, "failed")); second == first {
		t.Errorf("A second request should differ from the first: got %q", second)
	}

	for name, want := range map[string]string{
		"running": "run 1 is running, and goes on", "ready": "it is Ready; a check of what the registry has", "new": "a check of the Artifact",
	} {
		if got := w.run(t, "", "retry", name); got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("retry %s: want %q, got %+v", name, want, got)
		}
	}
	paused := w.get(t, "new")
	meta.AddAnnotations(paused, map[string]string{meta.AnnotationKeyReconciliationPaused: "true"})
	if err := w.Update(t.Context(), paused); err != nil {
		t.Fatal(err)
	}
	if got := w.run(t, "", "retry", "new", "ready"); got.code != 1 || !strings.Contains(got.err, "/new is paused") || !strings.Contains(got.out, "/ready: ") {
		t.Errorf("One that is paused would not be retried, and should not keep others from it: got %+v", got)
	}
	for _, args := range [][]string{{"retry"}, {"retry", "new", "--failed"}, {"retry", "new", "-A"}} {
		if got := w.run(t, "", args...); got.code != 1 || !strings.Contains(got.err, "write the names") {
			t.Errorf("%v: want an error that says what to write, got %+v", args, got)
		}
	}
}

func TestKeep(t *testing.T) {
	w := newWorld(t)
	w.fill(t)
	policies := func() xpv2.ManagementPolicies { return w.get(t, "ready").GetManagementPolicies() }
	all := policies()

	unchanged := map[string]struct {
		reason, answer string
		args           []string
		want           result
	}{
		"No":     {reason: "Without a confirmation nothing should be changed.", answer: "y\n", args: []string{"keep", "ready"}, want: result{code: 1}},
		"Nobody": {reason: "Where nobody answers nothing should be changed.", args: []string{"keep", "ready"}, want: result{code: 1}},
		"Client": {reason: "A dry run should change nothing.", args: []string{"keep", "ready", "--dry-run=client"}, want: result{out: w.namespace + "/ready: stays in the registry (client dry run)\n"}},
		"Server": {reason: "The server's dry run should change nothing.", args: []string{"keep", "ready", "--dry-run=server"}, want: result{out: w.namespace + "/ready: stays in the registry (server dry run)\n"}},
		"Odd":    {reason: "Another value of the flag should be refused.", args: []string{"keep", "ready", "--dry-run=perhaps"}, want: result{code: 1}},
	}
	for name, tc := range unchanged {
		t.Run(name, func(t *testing.T) {
			got := w.run(t, tc.answer, tc.args...)
			if got.code != tc.want.code || got.out != tc.want.out {
				t.Errorf("\n%s\nwant %+v, got %+v", tc.reason, tc.want, got)
			}
			if diff := cmp.Diff(all, policies()); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	got := w.run(t, "yes\n", "keep", "ready")
	if got.code != 0 || !strings.Contains(got.err, w.namespace+"/ready   registry.example.com/models/ready:v1, 3.0 GiB") || !strings.Contains(got.err, "Write yes to go on: ") {
		t.Errorf("What stays should be said before the question: got %+v", got)
	}
	want := xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate, xpv2.ManagementActionLateInitialize}
	if diff := cmp.Diff(want, policies()); diff != "" {
		t.Errorf("Delete should be gone, and nothing else: -want, +got:\n%s", diff)
	}

	some := w.get(t, "new")
	some.SetManagementPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionDelete})
	some.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "XModel", Name: "mine", UID: "1", Controller: new(true)}})
	if err := w.Update(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	got = w.run(t, "", "keep", "--all", "--yes")
	if got.code != 0 || !strings.Contains(got.out, "/ready: stays already\n") || strings.Count(got.out, ": stays in the registry\n") != 3 || !strings.Contains(got.err, "part of XModel mine") {
		t.Errorf("All should be kept, and a composite resource be named: got %+v", got)
	}
	if diff := cmp.Diff(xpv2.ManagementPolicies{xpv2.ManagementActionObserve}, w.get(t, "new").GetManagementPolicies()); diff != "" {
		t.Errorf("Other policies should stay as they are: -want, +got:\n%s", diff)
	}
}

// TestKeepInterrupted checks that an interrupt at the question ends the program, and
// changes nothing.
func TestKeepInterrupted(t *testing.T) {
	w := newWorld(t)
	w.fill(t)
	in, asked := io.Pipe()
	defer func() { _ = asked.Close() }()
	out, errs := &buffer{}, &buffer{}
	stop := w.start(t, plugin.Streams{In: in, Out: out, Err: errs}, "keep", "ready")
	terminaltest.Wait(t, errs, "The user should be asked.", func(s string) bool { return strings.HasSuffix(s, "Write yes to go on: ") })
	if code := stop(); code != 1 || out.String() != "" || !strings.Contains(errs.String(), "nothing was changed") {
		t.Errorf("want nothing to be changed, got %d, %q, %q", code, out, errs)
	}
}

// event creates an event about an object.
func (w world) event(t *testing.T, kind, name string, a *modelv1alpha1.Artifact, reason, message string) {
	t.Helper()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "event-"},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: w.namespace, Name: name},
		Type:           "Warning", Reason: reason, Message: message, LastTimestamp: metav1.NewTime(time.Now().Add(-time.Minute)), Count: 4,
	}
	if a != nil {
		e.InvolvedObject.UID = a.GetUID()
	}
	if err := w.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func TestWhy(t *testing.T) {
	w := newWorld(t)
	status := failed("Unauthorized", "a line")
	status.JobRef.Namespace = w.namespace
	a := w.artifact(t, "failed", status, notReady("Unauthorized", "The Hub refused the token\x1b[2J: correct Secret hub."),
		xpv2.Condition{Type: xpv2.TypeSynced, Status: corev1.ConditionTrue, Reason: xpv2.ReasonReconcileSuccess, LastTransitionTime: metav1.Now()})
	w.event(t, "Artifact", "failed", a, "RunFailed", "Run 3 failed\x1b]0;title\x07")
	w.event(t, "Artifact", "failed", nil, "OfAnother", "An Artifact of the same name, long ago")
	w.event(t, "Job", status.JobRef.Name, nil, "BackoffLimitExceeded", "Job has reached the specified backoff limit")

	got := w.run(t, "", "why", "failed")
	if got.code != 0 || got.err != "" {
		t.Fatalf("want no error, got %+v", got)
	}
	for what, want := range map[string]string{
		"state":          "Artifact " + w.namespace + "/failed is not ready (for 20m): Unauthorized\n",
		"message":        `The Hub refused the token\x1b[2J: correct Secret hub.`,
		"meaning":        "Meaning   Unauthorized: The Hub, the registry or the source's server refused the credentials",
		"cure":           "To do     Correct the Secret that tokenSecretRef",
		"way to retry":   "Retried   not before its spec, config or a Secret changes; by hand with kubectl kitops retry failed -n " + w.namespace,
		"runbook":        "docs/runbooks/failures.md#unauthorized",
		"run":            "Run       3, Failed, 2 failed in a row",
		"log":            "kubectl kitops logs failed -n " + w.namespace,
		"condition":      "Synced           True   ReconcileSuccess",
		"event":          `Artifact   RunFailed            Run 3 failed\x1b]0;title\x07 (4 times)`,
		"event of a Job": "Job        BackoffLimitExceeded Job has reached",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("The %s should be shown: want %q in\n%s", what, want, got.out)
		}
	}
	if strings.Contains(got.out, "OfAnother") || strings.Contains(got.out, "\x1b") {
		t.Errorf("Neither events of an earlier Artifact nor control sequences should be shown:\n%s", got.out)
	}

	w.artifact(t, "ready", succeeded(), xpv2.Available())
	if got := w.run(t, "", "why", "ready"); !strings.Contains(got.out, "/ready is ready (for ") || strings.Contains(got.out, "To do") || !strings.Contains(got.out, "Artifact  registry.example.com/models/ready@sha256:") {
		t.Errorf("What is ready needs nothing: got %+v", got)
	}
	w.artifact(t, "new", modelv1alpha1.ArtifactObservation{})
	if got := w.run(t, "", "why", "new"); !strings.Contains(got.out, "was not looked at yet") {
		t.Errorf("The provider may be down: got %+v", got)
	}
}

// TestLogsWithoutRights checks what a tenant gets of an isolated run, whose Pod is the
// administrator's.
func TestLogsWithoutRights(t *testing.T) {
	w := newWorld(t)
	w.artifact(t, "failed", failed("Mismatch", "copying model.safetensors", "failed: \x1b[31mMismatch"), notReady("Mismatch", ""))
	w.artifact(t, "running", func() modelv1alpha1.ArtifactObservation {
		s := running()
		s.JobRef = &modelv1alpha1.JobReference{Namespace: "kitops-runs", Name: "running-abc"}
		return s
	}(), notReady("Creating", ""))
	w.artifact(t, "new", modelv1alpha1.ArtifactObservation{})
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tenant"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{modelv1alpha1.Group}, Resources: []string{"artifacts"}, Verbs: []string{"get", "list", "watch"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "tenant"}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var got result
	for range 50 { // The authorizer learns of roles by a watch.
		if got = w.run(t, "", "logs", "failed", "--as", "tenant"); got.code == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	want := result{
		out: "copying model.safetensors\nfailed: \\x1b[31mMismatch\n",
		err: "Your account may not read the run's Pod in namespace kitops-runs: these are the last lines that run 3 reported.\n",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("The lines in the status should be shown: -want, +got:\n%s", diff)
	}
	if got := w.run(t, "", "logs", "running", "--as", "tenant"); got.code != 1 || !strings.Contains(got.err, "its status has no lines of a log: kubectl kitops why running -n "+w.namespace) {
		t.Errorf("Without lines in the status that should be said: got %+v", got)
	}
	if got := w.run(t, "", "logs", "new"); got.code != 1 || !strings.Contains(got.err, "/new has no run") {
		t.Errorf("An Artifact without a run has no log: got %+v", got)
	}
	if got := w.run(t, "", "logs", "failed"); got.code != 0 || !strings.Contains(got.err, "Job kitops-runs/failed-abc has no Pod") {
		t.Errorf("A Pod that is gone should be said to be: got %+v", got)
	}
	if got := w.run(t, "", "why", "failed", "--as", "tenant"); got.code != 0 || !strings.Contains(got.err, "No events: ") || !strings.Contains(got.out, "To do ") {
		t.Errorf("What may not be read should not keep the rest from being shown: got %+v", got)
	}
}

// TestNames checks what usage calls the program, and that completion works by the name
// that kubectl uses for it.
func TestNames(t *testing.T) {
	k := kubectl{kubeconfig: "/dev/null"}
	if got := k.run(t, "", "status", "--help"); !strings.Contains(got.out, "kubectl kitops status [NAME...]") || !strings.Contains(got.out, "  kubectl kitops status -A\n") {
		t.Errorf("A plugin is called by kubectl: got %+v", got)
	}
	if got := k.run(t, "", "--version"); !strings.Contains(got.out, version.Version) {
		t.Errorf("The version should be shown: got %+v", got)
	}
}
