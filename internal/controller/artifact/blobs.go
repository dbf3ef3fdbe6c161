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

// blobChecks know when all blobs of each Artifact are to be looked for. They are
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

	// left are those that the present check has not looked for yet.
	left []ocispec.Descriptor

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

// goesOn says whether there are blobs left to look for in an Artifact's check.
func (b *blobChecks) goesOn(uid types.UID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	check := b.checks[uid]
	return check != nil && len(check.left) > 0
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
	switch {
	case len(check.left) > 0:
		// The check goes on.
	case now.Before(check.due) && !isAskedFor(a):
		return check.lost, nil
	default:
		all, err := e.blobsOf(ctx, a)
		switch {
		case registry.IsNotFound(err):
			// The tag was on it just now: what is gone is an image of its index.
			check.lost, check.left = "a manifest that its index names", nil
		case err != nil:
			return "", err
		default:
			check.lost, check.left = "", all
		}
	}
	err := e.goOn(ctx, a, check)
	return check.lost, err
}

// goOn looks for the next blobs of a check.
func (e *external) goOn(ctx context.Context, a *modelv1alpha1.Artifact, check *blobCheck) error {
	next := check.left[:min(len(check.left), blobsPerLook)]
	lost, err := registry.Missing(ctx, e.registry, artifact.Repository(a), next)
	if err != nil {
		return err
	}
	check.left = check.left[len(next):]
	if len(lost) > 0 {
		check.lost, check.left = lost[0].Digest.String(), nil
	}
	if len(check.left) == 0 {
		check.left = nil
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
