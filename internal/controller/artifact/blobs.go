package artifact

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// blobsPerLook bounds how many blobs one observation looks for, so that a model
// of many files keeps no reconcile busy.
const blobsPerLook = 200

// blobChecks know when to look for all blobs of each Artifact. They are
// kept in memory: after a start of the provider each Artifact's first time is a
// random one within the interval.
type blobChecks struct {
	interval time.Duration

	mu     sync.Mutex
	checks map[types.UID]*blobCheck
}

// A blobCheck is that of one Artifact. The reconciles of an Artifact are one
// after the other, and so are its uses.
type blobCheck struct {
	// digest that it is about.
	digest string

	// due is when the blobs are looked for next.
	due time.Time

	// next is the place of the first blob that the present check has not looked for
	// yet; 0 where none is under way. The blobs themselves are not kept: a manifest
	// may name some ten thousand, and there is one for each Artifact.
	next int

	// lost is the blob that the last check did not find; "" for none.
	lost string
}

// newBlobChecks returns checks at this interval, none for 0.
func newBlobChecks(interval time.Duration) *blobChecks {
	return &blobChecks{interval: interval, checks: map[types.UID]*blobCheck{}}
}

// of returns the check of an Artifact, a new one where it has another artifact
// since.
func (b *blobChecks) of(a *modelv1alpha1.Artifact, now time.Time) *blobCheck {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := a.Status.AtProvider.Digest
	check := b.checks[a.GetUID()]
	if check == nil || check.digest != d {
		check = &blobCheck{digest: d, due: now.Add(rand.N(b.interval))} //nolint:gosec // No secret.
		b.checks[a.GetUID()] = check
	}
	return check
}

// isUnderWay reports whether there are blobs left to look for in an Artifact's check.
func (b *blobChecks) isUnderWay(uid types.UID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	check := b.checks[uid]
	return check != nil && check.next > 0
}

// forget what is known of an Artifact that is gone, or whose artifact was pushed
// again.
func (b *blobChecks) forget(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.checks, uid)
}

// lostBlob returns a blob of the artifact that the registry has no more, "" for
// none that is known. It asks at the interval of these checks, and where a
// person asks for it by the annotation crossplane.io/reconcile-requested-at.
func (e *external) lostBlob(ctx context.Context, a *modelv1alpha1.Artifact) (string, error) {
	if e.blobs.interval <= 0 {
		return "", nil
	}
	now := e.now()
	check := e.blobs.of(a, now)
	if check.next == 0 && now.Before(check.due) && !isRequested(a) {
		return check.lost, nil
	}
	all, err := e.blobsOf(ctx, a)
	switch {
	case registry.IsNotFound(err):
		// The tag was on it just now: what is gone is an image of its index.
		check.lost, check.next = "a manifest that its index names", 0
	case err != nil:
		return "", err
	case check.next == 0:
		check.lost = ""
	}
	err = e.goOn(ctx, a, check, all)
	return check.lost, err
}

// goOn looks for the next of all blobs of a check.
func (e *external) goOn(ctx context.Context, a *modelv1alpha1.Artifact, check *blobCheck, all []ocispec.Descriptor) error {
	left := all[min(check.next, len(all)):]
	lost, err := registry.Missing(ctx, e.registry, artifact.Repository(a), left[:min(len(left), blobsPerLook)])
	if err != nil {
		return err
	}
	check.next += blobsPerLook
	if len(lost) > 0 {
		check.lost = lost[0].Digest.String()
	}
	if check.next >= len(all) || len(lost) > 0 {
		check.next = 0
		check.due = e.now().Add(e.blobs.interval/2 + rand.N(e.blobs.interval)) //nolint:gosec // No secret.
	}
	return nil
}

// blobsOf returns the configs and the layers of what was pushed last.
func (e *external) blobsOf(ctx context.Context, a *modelv1alpha1.Artifact) ([]ocispec.Descriptor, error) {
	manifests, err := e.readManifests(ctx, artifact.Repository(a), a.Status.AtProvider.Digest)
	if err != nil {
		return nil, err
	}
	return manifests.Blobs()
}
