package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// A view is what is on the screen.
type view struct {
	*status

	artifacts map[string]*seen
	synced    bool // All Artifacts were listed.
}

// A seen Artifact, and since when its run's progress is what it is.
type seen struct {
	*modelv1alpha1.Artifact

	reported time.Time
}

// apply takes over what has changed.
func (v *view) apply(c change, now time.Time) {
	v.synced = true
	for _, key := range gone(c, v.artifacts) {
		delete(v.artifacts, key)
	}
	for _, a := range c.artifacts {
		before := v.artifacts[keyOf(a)]
		if before == nil {
			// How long ago it was reported is not known.
			v.artifacts[keyOf(a)] = &seen{Artifact: a, reported: now}
			continue
		}
		if !equality.Semantic.DeepEqual(before.Status.AtProvider.Progress, a.Status.AtProvider.Progress) {
			before.reported = now
		}
		before.Artifact = a
	}
}

// lines returns what the screen shows. What runs is shown before other Artifacts if there
// is no room for all.
func (v *view) lines(now time.Time, size func() (columns, rows int)) []string {
	if len(v.artifacts) == 0 {
		return []string{v.empty()}
	}
	wide, high := size()
	all := make([]*seen, 0, len(v.artifacts))
	for _, a := range v.artifacts {
		all = append(all, a)
	}
	// The header, the summary above an empty line, and the cursor's line.
	const others = 5
	all, left := most(all, max(high-others, 1))
	rows := make([]row, 0, len(all))
	estimates := false
	for _, a := range all {
		text, estimate := v.bar(a, now)
		rows = append(rows, rowOf(a.Artifact, text))
		estimates = estimates || estimate
	}
	slices.SortFunc(rows, byName)
	l := newLayout(rows, v.all, wide)
	out := []string{l.line(header)}
	for _, r := range rows {
		out = append(out, l.line(r))
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("… and %d more", left))
	}
	return append(out, "", v.summary(estimates))
}

// most returns as many Artifacts as there is room for, those with a run first, and how
// many are left out.
func most(all []*seen, room int) ([]*seen, int) {
	if len(all) <= room {
		return all, 0
	}
	slices.SortFunc(all, func(a, b *seen) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(keyOf(a.Artifact), keyOf(b.Artifact)))
	})
	return all[:room], len(all) - room
}

// byInterest are phases in the order in which people look for them.
var byInterest = []modelv1alpha1.ArtifactPhase{modelv1alpha1.PhaseRunning, modelv1alpha1.PhaseFailed, modelv1alpha1.PhasePending, modelv1alpha1.PhaseSucceeded}

// rank returns the place of an Artifact's phase in that order.
func rank(a *seen) int {
	if i := slices.Index(byInterest, a.Status.AtProvider.Phase); i >= 0 {
		return i
	}
	return len(byInterest)
}

// bar returns how far a run is, and reports whether that is estimated.
func (v *view) bar(a *seen, now time.Time) (string, bool) {
	p := a.Status.AtProvider.Progress
	if p == nil {
		return progressText(a.Artifact, nil), false
	}
	out, share := estimated(p, now.Sub(a.reported))
	if out == p {
		return progressBar(p, share, " "), false
	}
	return progressBar(out, share, "~"), true
}

// summary returns how many Artifacts are in which phase.
func (v *view) summary(estimates bool) string {
	count := map[modelv1alpha1.ArtifactPhase]int{}
	for _, a := range v.artifacts {
		count[a.Status.AtProvider.Phase]++
	}
	var parts []string
	for _, phase := range byInterest {
		if n := count[phase]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(phase))))
		}
	}
	out := strings.Join(parts, ", ")
	if estimates {
		out += "; ~ is estimated since the last report"
	}
	return strings.TrimPrefix(out+". Ctrl-C ends.", ". ")
}
