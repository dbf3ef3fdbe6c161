package access

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// checkInterval is how often permissions are checked while some are missing,
	// plus up to half of that as jitter.
	checkInterval = 10 * time.Second

	// recheckDelay is how long a check waits after Recheck, so that one check
	// answers many denied requests.
	recheckDelay = 3 * time.Second
)

// A Checker checks whether the provider has all permissions that it needs. It
// checks at the start, periodically while some are missing, and after Recheck. A
// nil Checker reports all permissions as granted.
type Checker struct {
	kube      client.Client
	log       logging.Logger
	namespace string
	runs      []string
	interval  time.Duration
	recheck   chan struct{}

	mu      sync.Mutex
	known   bool           // The API server has answered.
	missing *outcome.Error // nil if nothing is missing.
	changed chan struct{}  // Closed, and replaced, when known or missing change.
}

// NewChecker returns a Checker that uses this client. The namespace is the one in
// which the provider elects a leader; "" if it elects none. Runs are the namespaces for
// runs that the provider is restricted to; none if it is not.
func NewChecker(kube client.Client, log logging.Logger, namespace string, runs ...string) *Checker {
	return &Checker{kube: kube, log: log, namespace: namespace, runs: runs, interval: checkInterval, recheck: make(chan struct{}, 1), changed: make(chan struct{})}
}

// NeedLeaderElection returns false: a replica that lacks the permission to elect
// a leader must log that.
func (c *Checker) NeedLeaderElection() bool { return false }

// Start checks permissions until the context is done.
func (c *Checker) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.check(ctx); err != nil && ctx.Err() == nil {
			c.log.Info("Cannot check the provider's permissions", "error", err)
		}
		c.waitForCheck(ctx)
	}
	return nil
}

// waitForCheck returns when permissions must be checked once more. Once all are
// granted, only Recheck causes that.
func (c *Checker) waitForCheck(ctx context.Context) {
	var next <-chan time.Time
	if missing, known := c.state(); missing != nil || !known {
		t := time.NewTimer(wait.Jitter(c.interval, 0.5))
		defer t.Stop()
		next = t.C
	}
	select {
	case <-next:
	case <-c.recheck:
		// Only a context that ended returns an error, which Start sees itself.
		_ = retry.Sleep(ctx, recheckDelay)
	case <-ctx.Done():
	}
}

// Recheck has permissions checked soon. Call it after a request was denied.
func (c *Checker) Recheck() {
	if c == nil {
		return
	}
	select {
	case c.recheck <- struct{}{}:
	default:
	}
}

// Missing returns an error that names the missing permissions and how to grant
// them, or nil if all are granted. It waits for the first check.
func (c *Checker) Missing(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if err := c.waitFor(ctx, func(_ *outcome.Error, known bool) bool { return known }); err != nil {
		return err
	}
	if missing, _ := c.state(); missing != nil {
		return missing
	}
	return nil
}

// WaitGranted waits until all permissions are granted.
func (c *Checker) WaitGranted(ctx context.Context) error {
	return c.waitFor(ctx, func(missing *outcome.Error, known bool) bool { return known && missing == nil })
}

// WaitDenied waits until a permission is missing.
func (c *Checker) WaitDenied(ctx context.Context) error {
	if c == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.waitFor(ctx, func(missing *outcome.Error, _ bool) bool { return missing != nil })
}

// Explain returns err as it is, unless it says that the provider lacks a
// permission: then it returns what Denied does, and calls Recheck to find others
// that are missing.
func (c *Checker) Explain(err error) error {
	if denied := Denied(err); denied != nil {
		c.Recheck()
		return denied
	}
	return err
}

// check checks all permissions.
func (c *Checker) check(ctx context.Context) error {
	var needs []Need
	for _, n := range Needs(len(c.runs) > 0) {
		switch {
		case n.Optional, n.Own && c.namespace == "":
		case n.Runs:
			for _, ns := range c.runs {
				n.Namespace = ns
				needs = append(needs, n)
			}
		default:
			needs = append(needs, n)
		}
	}
	denied, err := review(ctx, c.kube, needs, c.namespace)
	if err != nil {
		return err
	}
	if len(denied) == 0 {
		c.set(nil)
		return nil
	}
	file := roleFile
	if len(c.runs) > 0 {
		file = restrictedRoleFile
	}
	c.set(missing(file, username(ctx, c.kube), denied...))
	return nil
}

// set records what is missing, and logs a change.
func (c *Checker) set(missing *outcome.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.missing, c.known
	c.missing, c.known = missing, true
	if known && (before == nil) == (missing == nil) && (before == nil || before.Message == missing.Message) {
		return
	}
	switch {
	case missing != nil:
		c.log.Info(missing.Message)
	case before != nil:
		c.log.Info("The provider has all permissions now")
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// state returns what is missing, and reports whether that is known.
func (c *Checker) state() (*outcome.Error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missing, c.known
}

// waitFor waits until is reports true.
func (c *Checker) waitFor(ctx context.Context, is func(missing *outcome.Error, known bool) bool) error {
	for c != nil {
		c.mu.Lock()
		missing, known, changed := c.missing, c.known, c.changed
		c.mu.Unlock()
		if is(missing, known) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Wrap(ctx.Err(), "cannot check the provider's permissions")
		}
	}
	return nil
}

// Allowed reports whether the provider has all verbs of a need. The namespace is
// the provider's own.
func Allowed(ctx context.Context, kube client.Client, n Need, namespace string) (bool, error) {
	denied, err := review(ctx, kube, []Need{n}, namespace)
	return len(denied) == 0, err
}

// review returns the needs that the API server denies, with their denied verbs.
func review(ctx context.Context, kube client.Client, needs []Need, namespace string) ([]Need, error) {
	var out []Need
	for _, n := range needs {
		denied := n
		denied.Verbs = nil
		for _, verb := range n.Verbs {
			allowed, err := reviewVerb(ctx, kube, n, verb, namespace)
			if err != nil {
				return nil, err
			}
			if !allowed {
				denied.Verbs = append(denied.Verbs, verb)
			}
		}
		if len(denied.Verbs) > 0 {
			out = append(out, denied)
		}
	}
	return out, nil
}

// reviewVerb reports whether the API server allows one verb of a need.
func reviewVerb(ctx context.Context, kube client.Client, n Need, verb, namespace string) (bool, error) {
	resource, subresource, _ := strings.Cut(n.Resource, "/")
	r := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: n.Namespace, Group: n.Group, Resource: resource, Subresource: subresource, Name: n.Name, Verb: verb},
	}}
	if n.Own {
		r.Spec.ResourceAttributes.Namespace = namespace
	}
	err := kube.Create(ctx, r)
	return r.Status.Allowed, errors.Wrapf(err, "cannot check whether the provider may %s %s", verb, n.Resource)
}

// username returns the provider's user as the API server knows it, or "" if it
// does not say.
func username(ctx context.Context, kube client.Client) string {
	r := &authenticationv1.SelfSubjectReview{}
	if err := kube.Create(ctx, r); err != nil {
		return ""
	}
	return r.Status.UserInfo.Username
}

// deniedMessage matches the API server's message for a user that lacks a
// permission (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters). What an
// admission policy refuses has other messages.
var deniedMessage = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"`)

// Denied returns an error that names the permission that the provider lacks
// according to err, and how to grant it. It returns nil if err is anything else.
func Denied(err error) *outcome.Error {
	var status kerrors.APIStatus
	if !kerrors.IsForbidden(err) || !errors.As(err, &status) {
		return nil
	}
	m := deniedMessage.FindStringSubmatch(status.Status().Message)
	if m == nil {
		return nil
	}
	return missing(roleFile, m[1], Need{Group: m[4], Resource: strings.TrimSpace(m[3]), Verbs: []string{m[2]}}).Because(err)
}

// roleFile grants what Crossplane does not, and restrictedRoleFile to a provider that is
// restricted to a namespace for runs.
const (
	roleFile           = "examples/install/rbac.yaml"
	restrictedRoleFile = "examples/install/rbac-run-namespace.yaml"
)

// missing returns the error of permissions that a user lacks, and of the file with roles
// that grant them.
func missing(file, user string, needs ...Need) *outcome.Error {
	texts := make([]string, 0, len(needs))
	for _, n := range needs {
		texts = append(texts, n.String())
	}
	return outcome.Errorf(outcome.PermissionMissing, "The provider may not %s: apply the ClusterRole in %s and bind it to %s",
		strings.Join(texts, "; "), file, subject(user))
}

// subject returns a user as the subject of a role binding.
func subject(user string) string {
	name, ok := strings.CutPrefix(user, "system:serviceaccount:")
	switch {
	case ok:
		return "ServiceAccount " + strings.Replace(name, ":", "/", 1)
	case user == "":
		return "the provider's ServiceAccount"
	}
	return "user " + user
}
