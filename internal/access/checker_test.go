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

// An authorizer answers access reviews as an API server does.
type authorizer struct {
	mu     sync.Mutex
	user   string
	denied map[string]bool
	err    error
	asked  []string
}

// client returns a client of an API server with this authorizer.
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
			reason: "No error should be returned if all permissions are granted.",
			args:   args{user: serviceAccount, namespace: "crossplane-system"},
		},
		"Verbs": {
			reason: "The error should name the verbs, the resource and the account to bind the role to.",
			args:   args{user: serviceAccount, denied: []string{"list jobs", "watch jobs"}},
			want:   "The provider may not list, watch jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"Several": {
			reason: "The error should name each resource, one of the core group without a group, and a subresource as kubectl does.",
			args:   args{user: serviceAccount, denied: []string{"get pods", "delete jobs", "update artifacts/status"}},
			want:   "The provider may not update artifacts.model.kitops.m.crossplane.io/status; delete jobs.batch; get pods: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"User": {
			reason: "The error should name a user that is no ServiceAccount.",
			args:   args{user: "jane", denied: []string{"create jobs"}},
			want:   "The provider may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to user jane",
		},
		"Unknown": {
			reason: "The error should name no account if the API server does not tell the provider's user.",
			args:   args{denied: []string{"create jobs"}},
			want:   "The provider may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to the provider's ServiceAccount",
		},
		"NoElection": {
			reason: "Permissions for leases should not be required without leader election.",
			args:   args{user: serviceAccount, denied: []string{"get leases"}},
		},
		"Election": {
			reason: "Permissions for leases should be required with leader election.",
			args:   args{user: serviceAccount, denied: []string{"get leases"}, namespace: "crossplane-system"},
			want:   "The provider may not get leases.coordination.k8s.io: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount crossplane-system/provider-kitops",
		},
		"Optional": {
			reason: "Optional permissions should not be required.",
			args:   args{user: serviceAccount, denied: []string{"list customresourcedefinitions"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			z := &authorizer{user: tc.args.user}
			z.deny(tc.args.denied...)
			c := NewChecker(z.client(), logging.NewNopLogger(), tc.args.namespace)
			start(t, c)
			err := c.Missing(t.Context())
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

// TestCheckerFollowsChanges checks that permissions that are granted or revoked
// later are noticed.
func TestCheckerFollowsChanges(t *testing.T) {
	z := &authorizer{}
	z.deny("create jobs")
	c := NewChecker(z.client(), logging.NewNopLogger(), "")
	c.interval = 10 * time.Millisecond
	start(t, c)

	if c.Missing(t.Context()) == nil {
		t.Fatal("Missing(...): got nil, want an error")
	}
	if err := c.WaitDenied(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.deny()
	if err := c.WaitGranted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Missing(t.Context()); err != nil {
		t.Fatalf("Missing(...): got %v, want nil", err)
	}
	z.deny("list pods")
	denial := forbidden("list", "pods")
	if err := c.Explain(denial); !errors.Is(err, denial) || outcome.ReasonOf(err) != outcome.PermissionMissing {
		t.Fatalf("Explain(...): got %v", err)
	}
	if err := c.WaitDenied(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestCheckerWithoutAnswer checks that permissions are neither missing nor granted
// while the API server does not answer.
func TestCheckerWithoutAnswer(t *testing.T) {
	z := &authorizer{err: errors.New("boom")}
	c := NewChecker(z.client(), logging.NewNopLogger(), "")
	start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{"Missing": c.Missing(ctx), "WaitGranted": c.WaitGranted(ctx)} {
		if diff := cmp.Diff(context.DeadlineExceeded, err, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("%s(...): -want error, +got error:\n%s", what, diff)
		}
	}
}

// TestNilChecker checks that a nil Checker reports all permissions as granted.
func TestNilChecker(t *testing.T) {
	var c *Checker
	if err := errors.Join(c.Missing(t.Context()), c.WaitGranted(t.Context())); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	c.Recheck()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.WaitDenied(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitDenied(...): got %v, want %v", err, context.Canceled)
	}
}

// TestCheckerNamespaces checks that leases and ConfigMaps are checked in the
// provider's own namespace, and all other resources in all namespaces.
func TestCheckerNamespaces(t *testing.T) {
	z := &authorizer{}
	c := NewChecker(z.client(), logging.NewNopLogger(), "own")
	start(t, c)
	if err := c.WaitGranted(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, asked := range z.asked {
		if inOwn := strings.HasSuffix(asked, " own"); inOwn != (strings.Contains(asked, "leases") || strings.Contains(asked, "configmaps")) {
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
		"Nil": {reason: "No error should not be taken for a denied request."},
		"Other": {
			reason: "An error of another kind should not be taken for a denied request.",
			err:    errors.New(`User "x" cannot get resource "pods" in API group ""`),
		},
		"Admission": {
			reason: "An object that an admission policy refuses should not be taken for a denied request.",
			err:    kerrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("violates PodSecurity")),
		},
		"InNamespace": {
			reason: "The error should name the verb, the resource and the account of the API server's answer.",
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

// forbidden returns an API server's error of a denied request for a core resource.
func forbidden(verb, resource string) error {
	return kerrors.NewForbidden(schema.GroupResource{Resource: resource}, "",
		errors.New(`User "system:serviceaccount:a:b" cannot `+verb+` resource "`+resource+`" in API group "" in the namespace "c"`))
}

// start runs the Checker until the test ends.
func start(t *testing.T, c *Checker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
