package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	changelogs "github.com/crossplane/crossplane-runtime/v2/apis/changelogs/proto/v1alpha1"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
)

func TestFlags(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		env    map[string]string
		want   func(flags) flags
		err    string
	}{
		"None": {reason: "All flags should have defaults."},
		"Template": {
			reason: "The flags of provider-template should have their effect.",
			args:   []string{"-d", "-l", "-s", "2h", "--poll=5m", "--poll-state-metric=1m", "--max-reconcile-rate=7", "--enable-management-policies", "--enable-changelogs", "--changelogs-socket-path=/run/logs.sock"},
			want: func(f flags) flags {
				f.debug, f.leaderElection, f.syncInterval, f.pollInterval, f.stateInterval = true, true, 2*time.Hour, 5*time.Minute, time.Minute
				f.maxReconcileRate, f.changeLogs, f.changeLogsSocket = 7, true, "/run/logs.sock"
				return f
			},
		},
		"Kubernetes": {
			reason: "The flags of provider-kubernetes that concern no Object should be accepted.",
			args:   []string{"--poll-jitter-percentage=20", "--webhook-port=9444", "--metrics-bind-address=:9090", "--health-probe-bind-addr=:9091"},
			want: func(f flags) flags {
				f.pollJitter, f.metricsAddress, f.healthAddress = 20, ":9090", ":9091"
				return f
			},
		},
		"Upjet": {
			reason: "The flags of providers made with upjet that concern no Terraform should be accepted.",
			args:   []string{"--certs-dir=/tls/server", "--webhook-port=9443", "--no-enable-management-policies"},
			want:   func(f flags) flags { f.managementPolicies = false; return f },
		},
		"Timeout": {
			reason: "The flag of provider-helm should have its effect.",
			args:   []string{"--timeout=10m"},
			want:   func(f flags) flags { f.timeout = 10 * time.Minute; return f },
		},
		"Environment": {
			reason: "The variables that other providers read should have their effect.",
			env: map[string]string{
				"LEADER_ELECTION": "true", "METRICS_BIND_ADDRESS": ":9090", "HEALTH_PROBE_BIND_ADDRESS": ":9091",
				"ENABLE_MANAGEMENT_POLICIES": "false", "ENABLE_CHANGE_LOGS": "true", "CHANGELOGS_SOCKET_PATH": "/run/logs.sock",
			},
			want: func(f flags) flags {
				f.leaderElection, f.metricsAddress, f.healthAddress = true, ":9090", ":9091"
				f.managementPolicies, f.changeLogs, f.changeLogsSocket = false, true, "/run/logs.sock"
				return f
			},
		},
		"ServiceVariable": {
			reason: "The variable that the kubelet sets for a Service named webhook should not be read as a port.",
			env:    map[string]string{"WEBHOOK_PORT": "tcp://10.0.0.1:443"},
		},
		"Unknown":    {reason: "A flag that no provider has should be refused.", args: []string{"--polling=1m"}, err: "unknown long flag '--polling'"},
		"Other":      {reason: "A flag that only makes sense for another provider should be refused.", args: []string{"--skip-default-tags"}, err: "unknown long flag"},
		"Argument":   {reason: "An argument that belongs to no flag should be refused.", args: []string{"now"}, err: "unexpected now"},
		"Poll":       {reason: "Artifacts that are never compared would not be noticed.", args: []string{"--poll=0s"}, err: "--poll must be more than 0: write 10m"},
		"NoTimeout":  {reason: "No reconcile ends in no time.", args: []string{"--timeout=0s"}, err: "--timeout must be more than 0: write 5m"},
		"Jitter":     {reason: "A poll should not be earlier than now.", args: []string{"--poll-jitter-percentage=100"}, err: "--poll-jitter-percentage must be from 0 to 99"},
		"Runs":       {reason: "A limit is a number of runs.", args: []string{"--max-runs=-1"}, err: "--max-runs must not be less than 0: write 8, or 0 for any number"},
		"Rate":       {reason: "Without reconciles nothing happens.", args: []string{"--max-reconcile-rate=0"}, err: "--max-reconcile-rate must be more than 0"},
		"SocketPath": {reason: "Change logs need a socket.", args: []string{"--enable-changelogs", "--changelogs-socket-path="}, err: "--changelogs-socket-path must be the path of a Unix socket"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			want := flags{}
			if _, err := newApp(&want).Parse(nil); err != nil {
				t.Fatal(err)
			}
			if want.timeout != artifactcontroller.DefaultTimeout {
				t.Errorf("the default of --timeout is %s", want.timeout)
			}
			if tc.want != nil {
				want = tc.want(want)
			}
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			got := flags{}
			_, err := newApp(&got).Parse(tc.args)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("\n%s\nerror %v, want %q", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("\n%s\n%v", tc.reason, err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(flags{})); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestExampleFlags checks that the provider takes the flags of all examples, and that
// those for OpenShift and for change logs differ from the others in what they are for.
func TestExampleFlags(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "install", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{}
	pods := map[string]corev1.PodSpec{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(data), "\n---\n") {
			o := struct {
				Kind string `json:"kind"`
				Spec struct {
					DeploymentTemplate struct {
						Spec struct {
							Template corev1.PodTemplateSpec `json:"template"`
						} `json:"spec"`
					} `json:"deploymentTemplate"`
					Template corev1.PodTemplateSpec `json:"template"`
				} `json:"spec"`
			}{}
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			name, pod := filepath.Base(file), o.Spec.Template.Spec
			if o.Kind == "DeploymentRuntimeConfig" {
				pod = o.Spec.DeploymentTemplate.Spec.Template.Spec
			}
			if len(pod.Containers) > 0 {
				args[name], pods[name] = pod.Containers[0].Args, pod
			}
		}
	}
	for name, a := range args {
		if _, err := newApp(&flags{}).Parse(a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain, openshift := pods["runtimeconfig.yaml"], pods["runtimeconfig-openshift.yaml"]
	if s := openshift.SecurityContext; s == nil || s.RunAsUser != nil || s.RunAsGroup != nil || s.FSGroup != nil || openshift.Containers[0].SecurityContext == nil {
		t.Errorf("OpenShift should assign user and groups, and Crossplane none: %+v", s)
	}
	plain.SecurityContext.RunAsUser, plain.SecurityContext.RunAsGroup = nil, nil
	if diff := cmp.Diff(plain, openshift); diff != "" {
		t.Errorf("but for the user, runtimeconfig-openshift.yaml should be as runtimeconfig.yaml: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(append(args["runtimeconfig.yaml"], "--enable-changelogs"), args["runtimeconfig-changelogs.yaml"]); diff != "" {
		t.Errorf("flags of runtimeconfig-changelogs.yaml: -want, +got:\n%s", diff)
	}
}

// A changeLog is a server of Crossplane's change logs that keeps what it gets.
type changeLog struct {
	changelogs.UnimplementedChangeLogServiceServer
	mu      sync.Mutex
	entries []*changelogs.ChangeLogEntry
}

// SendChangeLog implements changelogs.ChangeLogServiceServer.
func (c *changeLog) SendChangeLog(_ context.Context, r *changelogs.SendChangeLogRequest) (*changelogs.SendChangeLogResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = append(c.entries, r.GetEntry())
	return &changelogs.SendChangeLogResponse{}, nil
}

// has returns the entries for an operation on an Artifact.
func (c *changeLog) has(a *modelv1alpha1.Artifact, op changelogs.OperationType) []*changelogs.ChangeLogEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*changelogs.ChangeLogEntry
	for _, e := range c.entries {
		if e.GetName() == a.GetName() && e.GetKind() == modelv1alpha1.ArtifactGroupVersionKind.Kind && e.GetOperation() == op {
			out = append(out, e)
		}
	}
	return out
}

// TestChangeLogs checks that what the provider does to an Artifact reaches the server of
// change logs.
func TestChangeLogs(t *testing.T) {
	// The path of a Unix socket has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "changelogs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "changelogs.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	log, server := &changeLog{}, grpc.NewServer()
	changelogs.RegisterChangeLogServiceServer(server, log)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	p := newProvider(t)
	everywhere, _ := accesstest.Installed(t, "without-crossplane.yaml")
	p.account.Grant(t, "installed", everywhere)
	p.start(nil, "--worker-image=worker:test", "--enable-changelogs", "--changelogs-socket-path="+socket)
	a := p.artifact("logged")
	p.eventually("record of the creation", func() string {
		created := log.has(a, changelogs.OperationType_OPERATION_TYPE_CREATE)
		if len(created) == 0 {
			return "there is none"
		}
		e := created[0]
		if !strings.HasPrefix(e.GetProvider(), "provider-kitops:") || e.GetErrorMessage() != "" || e.GetSnapshot() == nil {
			return fmt.Sprint("it is ", e)
		}
		return ""
	})
	if err := p.kube.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	p.eventually("record of the deletion", func() string {
		if len(log.has(a, changelogs.OperationType_OPERATION_TYPE_DELETE)) == 0 {
			return "there is none"
		}
		return ""
	})
}

// TestManagementPoliciesDisabled checks that the flag has the effect that it has in other
// providers: an Artifact with other policies than the default is refused.
func TestManagementPoliciesDisabled(t *testing.T) {
	p := newProvider(t)
	everywhere, _ := accesstest.Installed(t, "without-crossplane.yaml")
	p.account.Grant(t, "installed", everywhere)
	// No Artifact is reconciled before its policies are as the case has them.
	policies := map[string]string{"observed": `["Observe"]`, "none": `[]`, "default": `["*"]`}
	artifacts := map[string]*modelv1alpha1.Artifact{}
	for name, policy := range policies {
		a := p.artifact(name)
		// The type leaves out an empty list.
		patch := []byte(`{"spec": {"managementPolicies": ` + policy + `}}`)
		if err := p.kube.Patch(t.Context(), a, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
		artifacts[name] = a
	}
	p.start(nil, "--worker-image=worker:test", "--no-enable-management-policies")
	p.workerOf(artifacts["default"])
	for name, says := range map[string]string{"observed": "the feature is not enabled", "none": "--no-enable-management-policies"} {
		a := artifacts[name]
		p.eventually(name, func() string {
			if err := p.kube.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
				return err.Error()
			}
			if c := a.GetCondition(xpv2.TypeSynced); c.Status != corev1.ConditionFalse || !strings.Contains(c.Message, says) {
				return fmt.Sprintf("Synced: %s %s", c.Status, c.Message)
			}
			return ""
		})
	}
	jobs := &batchv1.JobList{}
	if err := p.kube.List(t.Context(), jobs, client.InNamespace(p.account.Namespace)); err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d Jobs, %v; want the one of the Artifact with the default", len(jobs.Items), err)
	}
}
