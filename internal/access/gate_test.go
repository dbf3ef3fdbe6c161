package access

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/test"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An authorizer answers reviews as an API server does.
type authorizer struct {
	mu     sync.Mutex
	user   string
	denied map[string]bool
	err    error
	asked  []string
}

// client that asks the authorizer.
func (z *authorizer) client() client.Client {
	return &test.MockClient{MockCreate: func(_ context.Context, o client.Object, _ ...client.CreateOption) error {
		z.mu.Lock()
		defer z.mu.Unlock()
		switch o := o.(type) {
		case *authorizationv1.SelfSubjectAccessReview:
			a := o.Spec.ResourceAttributes
			resource := strings.TrimSuffix(a.Resource+"/"+a.Subresource, "/")
			o.Status.Allowed = !z.denied[a.Verb+" "+resource]
			z.asked = append(z.asked, strings.TrimSpace(a.Verb+" "+resource+" "+a.Namespace))
		case *authenticationv1.SelfSubjectReview:
			o.Status.UserInfo.Username = z.user
		}
		return z.err
	}}
}

func (z *authorizer) deny(what ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.denied = map[string]bool{}
	for _, w := range what {
		z.denied[w] = true
	}
}

func TestMissing(t *testing.T) {
	const serviceAccount = "system:serviceaccount:crossplane-system:provider-kitops"
	type args struct {
		user      string
		denied    []string
		namespace string
	}
	cases := map[string]struct {
		reason string
		args   args
		want   string
	}{
		"Nothing": {
			reason: "A provider that may do all is not told of anything.",
			args:   args{user: serviceAccount, namespace: "crossplane-system"},
		},
		"Verbs": {
			reason: "The verbs and the resource are named, and the account to bind the role to.",
			args:   args{user: serviceAccount, denied: []string{"list jobs", "watch jobs"}},
			want:   "The provider may not list, watch jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"Several": {
			reason: "Each resource is named, one of the core group by itself, and a subresource as kubectl names it.",
			args:   args{user: serviceAccount, denied: []string{"get pods", "delete jobs", "update artifacts/status"}},
			want:   "The provider may not update artifacts.model.kitops.m.crossplane.io/status; delete jobs.batch; get pods: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"User": {
			reason: "Outside of a cluster the provider is another kind of user.",
			args:   args{user: "jane", denied: []string{"create jobs"}},
			want:   "The provider may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to user jane",
		},
		"Unknown": {
			reason: "An API server need not say who somebody is.",
			args:   args{denied: []string{"create jobs"}},
			want:   "The provider may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to the provider's ServiceAccount",
		},
		"NoElection": {
			reason: "Without an election no lease is needed.",
			args:   args{user: serviceAccount, denied: []string{"get leases"}},
		},
		"Election": {
			reason: "With one, it is.",
			args:   args{user: serviceAccount, denied: []string{"get leases"}, namespace: "crossplane-system"},
			want:   "The provider may not get leases.coordination.k8s.io: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"Optional": {
			reason: "What the provider works without is not missing.",
			args:   args{user: serviceAccount, denied: []string{"list customresourcedefinitions"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			z := &authorizer{user: tc.args.user}
			z.deny(tc.args.denied...)
			g := NewGate(z.client(), logging.NewNopLogger(), tc.args.namespace)
			start(t, g)
			err := g.Missing(t.Context())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nMissing(...): -want, +got:\n%s", tc.reason, diff)
			}
			if err != nil && outcome.ReasonOf(err) != outcome.PermissionMissing {
				t.Errorf("\n%s\nReasonOf(...): got %s", tc.reason, outcome.ReasonOf(err))
			}
		})
	}
}

// TestGateOpensAndCloses: it opens by itself, and looks again when something was
// denied.
func TestGateOpensAndCloses(t *testing.T) {
	z := &authorizer{}
	z.deny("create jobs")
	g := NewGate(z.client(), logging.NewNopLogger(), "")
	g.interval = 10 * time.Millisecond
	start(t, g)

	if g.Missing(t.Context()) == nil {
		t.Fatal("Missing(...): got nil, want an error")
	}
	if err := g.WaitDenied(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.deny()
	if err := g.WaitGranted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Missing(t.Context()); err != nil {
		t.Fatalf("Missing(...): got %v, want nil", err)
	}
	z.deny("list pods")
	denial := forbidden("list", "pods")
	if err := g.Explain(denial); !errors.Is(err, denial) || outcome.ReasonOf(err) != outcome.PermissionMissing {
		t.Fatalf("Explain(...): got %v", err)
	}
	if err := g.WaitDenied(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestGateWithoutAnAnswer: while the API server does not answer, nobody is told
// that something is missing or that all is there.
func TestGateWithoutAnAnswer(t *testing.T) {
	z := &authorizer{err: errors.New("boom")}
	g := NewGate(z.client(), logging.NewNopLogger(), "")
	start(t, g)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{"Missing": g.Missing(ctx), "WaitGranted": g.WaitGranted(ctx)} {
		if diff := cmp.Diff(context.DeadlineExceeded, err, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("%s(...): -want error, +got error:\n%s", what, diff)
		}
	}
}

// TestNoGate: where nobody asks, all is allowed.
func TestNoGate(t *testing.T) {
	var g *Gate
	if err := errors.Join(g.Missing(t.Context()), g.WaitGranted(t.Context())); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	g.Recheck()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.WaitDenied(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitDenied(...): got %v, want %v", err, context.Canceled)
	}
}

// TestGateAsksWhereItMatters: of a lease in the own namespace, of all else in all
// of them.
func TestGateAsksWhereItMatters(t *testing.T) {
	z := &authorizer{}
	g := NewGate(z.client(), logging.NewNopLogger(), "own")
	start(t, g)
	if err := g.WaitGranted(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, asked := range z.asked {
		if inOwn := strings.HasSuffix(asked, " own"); inOwn != strings.Contains(asked, "leases") {
			t.Errorf("asked for %q", asked)
		}
	}
}

func TestDenied(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		want   string
	}{
		"Nil": {reason: "No error is none."},
		"Other": {
			reason: "Other errors are none of its business.",
			err:    errors.New(`User "x" cannot get resource "pods" in API group ""`),
		},
		"Admission": {
			reason: "What an admission policy refuses is no matter of permissions.",
			err:    kerrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("violates PodSecurity")),
		},
		"InNamespace": {
			reason: "The verb, the resource and the account are those of the answer.",
			err:    errors.Wrap(forbidden("list", "pods"), "cannot list Pods"),
			want:   "The provider may not list pods: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount a/b",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := Denied(tc.err); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDenied(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// forbidden is how an API server denies a request for a core resource.
func forbidden(verb, resource string) error {
	return kerrors.NewForbidden(schema.GroupResource{Resource: resource}, "",
		errors.New(`User "system:serviceaccount:a:b" cannot `+verb+` resource "`+resource+`" in API group "" in the namespace "c"`))
}

// start runs the gate until the test ends.
func start(t *testing.T, g *Gate) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
