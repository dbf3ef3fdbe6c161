package main

import (
	"context"
	"fmt"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// The limits that the figures are held to.
const (
	limitMemory = 200_000_000

	// A poll comes up to 10 % early by the provider's default.
	limitHeads = 1.12

	// Fewer than these, and Artifacts were not polled as often as said.
	leastHeads = 0.85

	// Once a day the provider reads a manifest and looks for its one blob; some more
	// often, since the times of all are spread at random.
	requestsPerDay = 4.0

	// mostOfMean is the most requests that a registry gets in a second of the first poll
	// after a start, in parts of the mean. Where 10,000 turns are spread over two minutes at
	// random, the fullest of 120 seconds has 1.4 times the mean.
	mostOfMean = 2.0

	// mostStartWrites is how much a start writes at most: the conditions and finalizers of
	// configs that have changed before.
	mostStartWrites = 10

	// mostReads is how many requests the API server gets for one Artifact in a poll, at
	// most: a start reads lists, and asks for permissions, and nothing that grows with the
	// Artifacts.
	mostReads = 0.01
)

// policyName is the name of the ClusterProviderConfig whose policy applies to all Artifacts.
const policyName = "policy"

// idle starts the provider with Artifacts that are all Ready, as it is restarted, and then
// watches what they cost.
func (b *bench) idle(ctx context.Context) error {
	n := b.options.ready
	if n == 0 {
		return nil
	}
	if err := b.provider.stop(); err != nil {
		return err
	}
	b.provider = nil
	if err := b.prepareIdle(ctx, n); err != nil {
		return err
	}
	jobs := b.cluster.made()
	if err := b.restart(ctx); err != nil {
		return err
	}
	b.report.phase("%d Ready Artifacts with credentials and policies, idle for %d polls of %s", b.artifacts, b.options.polls, b.options.poll)
	if err := b.watchIdle(ctx); err != nil {
		return err
	}
	made := b.cluster.made() - jobs
	b.report.hold(made == 0, "Jobs made", fmt.Sprint(made), "none")
	rss, peak, err := b.provider.memory()
	b.report.hold(rss < limitMemory, "RSS", fmt.Sprintf("%d MB", rss/1e6), fmt.Sprintf("under %d MB", int(limitMemory/1e6)))
	b.report.say("RSS at its most, while starting", "%d MB", peak/1e6)
	return err
}

// prepareIdle has as many Artifacts that are Ready since long, and policies that apply to
// them: the ProviderConfig's own, and that of a ClusterProviderConfig for its namespace.
func (b *bench) prepareIdle(ctx context.Context, n int) error {
	// Their TTL has passed.
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
		if err := b.client.DeleteAllOf(ctx, o, client.InNamespace(namespace), client.PropagationPolicy(metav1.DeletePropagationBackground), client.GracePeriodSeconds(0)); err != nil {
			return errors.Wrapf(err, "cannot delete %T", o)
		}
	}
	if err := errors.Join(b.releaseClaims(ctx, namespace), b.seed(ctx, n-b.artifacts)); err != nil {
		return err
	}
	b.artifacts = max(n, b.artifacts)
	b.registry.full.Store(true)
	config := &v1alpha1.ProviderConfig{}
	if err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: configName}, config); err != nil {
		return errors.Wrap(err, "cannot get the ProviderConfig")
	}
	policy := v1alpha1.ContentPolicy{
		Models:   &v1alpha1.ModelRules{Allow: []v1alpha1.ModelPattern{"org/*"}},
		Licenses: &v1alpha1.LicenseRules{Allow: []v1alpha1.LicenseName{"mit"}},
	}
	config.Spec.Policy = &policy
	if err := b.comply(ctx); err != nil {
		return err
	}
	return errors.Wrap(errors.Join(b.client.Update(ctx, config), b.client.Create(ctx, &v1alpha1.ClusterProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: policyName},
		Spec: v1alpha1.ClusterProviderConfigSpec{
			Registry: v1alpha1.ClusterRegistryConfig{
				Host: v1alpha1.RegistryHost(b.registry.host()), PlainHTTP: true,
				Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
			},
			Policy: &v1alpha1.ClusterPolicy{ContentPolicy: policy},
		},
	})), "cannot set policies")
}

// comply has the statuses of Artifacts that the provider made before there was a policy say
// that they comply with it, as it writes into each once a policy is there. Seeded ones say so.
func (b *bench) comply(ctx context.Context) error {
	list := &modelv1alpha1.ArtifactList{}
	if err := b.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return errors.Wrap(err, "cannot list Artifacts")
	}
	var names []string
	artifacts := map[string]*modelv1alpha1.Artifact{}
	for i := range list.Items {
		if a := &list.Items[i]; a.GetCondition(modelv1alpha1.TypePolicyCompliant).Status != corev1.ConditionTrue {
			names, artifacts[a.GetName()] = append(names, a.GetName()), a
		}
	}
	return inParallel(ctx, seeders, names, func(ctx context.Context, name string) error {
		a := artifacts[name]
		a.SetConditions(compliant().WithObservedGeneration(a.GetGeneration()))
		return errors.Wrap(b.client.Status().Update(ctx, a), "cannot have an Artifact comply")
	})
}

// restart starts the provider and watches how the first observations of all Artifacts are
// spread over the first poll.
func (b *bench) restart(ctx context.Context) error {
	before, err := b.asked(ctx)
	if err != nil {
		return err
	}
	b.registry.forget()
	started := time.Now()
	if err := b.start(ctx); err != nil {
		return err
	}
	// Its polls begin once its caches have all Artifacts.
	for b.registry.seen() == 0 {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	// The last turn may begin at the end of the poll.
	end, most, last, at := time.Now().Add(b.options.poll+grace), 0.0, before.total(), started
	for time.Now().Before(end) {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		now, err := b.asked(ctx)
		if err != nil {
			return err
		}
		most = max(most, float64(now.total()-last)/time.Since(at).Seconds())
		last, at = now.total(), time.Now()
	}
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	n := float64(b.artifacts)
	done := after.less(before)
	b.report.phase("a restart with %d Ready Artifacts, and a poll of %s", b.artifacts, b.options.poll)
	seen := b.registry.seen()
	b.report.hold(seen == b.artifacts, "Artifacts observed within a poll", fmt.Sprint(seen), "all")
	mean := n / b.options.poll.Seconds()
	b.report.hold(float64(b.registry.fullest()) <= mostOfMean*mean, "HEADs in the fullest second", fmt.Sprint(b.registry.fullest()), fmt.Sprintf("%.0f, %.0f times the mean", mostOfMean*mean, mostOfMean))
	b.report.hold(most <= mostReads*n, "requests to the API server, fullest second", fmt.Sprintf("%.0f", most), fmt.Sprintf("%.0f, one for %.0f Artifacts", mostReads*n, 1/mostReads))
	written := done.writes().of(func(r request) bool { return r.resource != "selfsubjectaccessreviews" }).total()
	b.report.hold(written <= mostStartWrites, "API writes but for questions of permissions", fmt.Sprint(written), fmt.Sprintf("%d, of configs", mostStartWrites))
	b.report.requests("API writes by kind and verb", done.writes(), b.artifacts)
	b.report.requests("API reads by kind and verb", done.reads(), b.artifacts)
	return nil
}

// grace is how long an observation may take once its turn has come.
const grace = 5 * time.Second

// watchIdle counts what happens during the polls.
func (b *bench) watchIdle(ctx context.Context) error {
	before, err := b.asked(ctx)
	if err != nil {
		return err
	}
	old, err := b.versions(ctx)
	if err != nil {
		return err
	}
	heads, others := b.registry.heads.Load(), b.registry.others.Load()
	if err := sleep(ctx, time.Duration(b.options.polls)*b.options.poll); err != nil {
		return err
	}
	heads, others = b.registry.heads.Load()-heads, b.registry.others.Load()-others
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	now, err := b.versions(ctx)
	if err != nil {
		return err
	}
	changed := 0
	for id, version := range now {
		if old[id] != version {
			changed++
		}
	}
	done := after.less(before)
	polls := float64(b.artifacts * b.options.polls)
	asked, read := float64(heads)/polls, float64(done.reads().total())/polls
	b.report.hold(asked >= leastHeads && asked <= limitHeads, "HEADs an Artifact and poll", fmt.Sprintf("%.2f", asked), "1, polls up to 10 % off")
	b.report.say("HEADs a poll", "%d", int(heads)/b.options.polls)
	rare := int64(requestsPerDay * float64(b.artifacts) * (float64(b.options.polls) * b.options.poll.Hours() / 24))
	b.report.hold(others <= rare, "other requests to the registry", fmt.Sprint(others), fmt.Sprintf("%d, %.0f an Artifact and day", rare, requestsPerDay))
	b.report.hold(done.writes().total() == 0, "API writes", fmt.Sprint(done.writes().total()), "none")
	b.report.requests("API writes by kind and verb", done.writes(), b.artifacts)
	b.report.hold(read <= mostReads, "API reads an Artifact and poll", fmt.Sprintf("%.4f", read), fmt.Sprint(mostReads))
	b.report.requests("API reads by kind and verb", done.reads(), b.artifacts)
	b.report.requests("watches that ended and began again", done.watches(), b.artifacts)
	b.report.hold(changed == 0, "Artifacts with another resourceVersion", fmt.Sprint(changed), "none")
	return nil
}
