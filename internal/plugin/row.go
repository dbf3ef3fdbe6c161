package plugin

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// none stands in a table for what there is none of.
const none = "-"

// Columns of the table of Artifacts.
const (
	columnNamespace = iota
	columnName
	columnModel
	columnPhase
	columnReason
	columnProgress
	columnDigest
	columns
)

// header of the table of Artifacts.
var header = [columns]string{"NAMESPACE", "NAME", "MODEL", "PHASE", "REASON", "PROGRESS", "DIGEST"}

// defaultRevision of a model on the Hub.
const defaultRevision = "main"

// A row is an Artifact in the table.
type row [columns]string

// rowOf returns the row of an Artifact, with a text for its progress.
func rowOf(a *modelv1alpha1.Artifact, progress string) row {
	s := a.Status.AtProvider
	return row{
		columnNamespace: a.GetNamespace(),
		columnName:      a.GetName(),
		columnModel:     cmp.Or(modelOf(a), none),
		columnPhase:     cmp.Or(string(s.Phase), none),
		columnReason:    cmp.Or(string(a.GetCondition(xpv2.TypeReady).Reason), none),
		columnProgress:  cmp.Or(progress, none),
		columnDigest:    cmp.Or(shortDigest(s.Digest), none),
	}
}

// shortDigest returns as much of a digest as people compare.
func shortDigest(d string) string {
	const digits = 12
	algorithm, hex, ok := strings.Cut(d, ":")
	if !ok || len(hex) <= digits {
		return d
	}
	return algorithm + ":" + hex[:digits]
}

// modelOf returns what the source of an Artifact is called.
func modelOf(a *modelv1alpha1.Artifact) string {
	s := a.Spec.ForProvider.Source
	switch {
	case s == nil:
		return ""
	case s.HuggingFace != nil:
		return modelOfHub(s.HuggingFace)
	case s.OCI != nil:
		return s.OCI.Reference
	case s.S3 != nil:
		return folder("s3://", s.S3.Bucket, string(s.S3.Prefix))
	case s.GCS != nil:
		return folder("gs://", s.GCS.Bucket, string(s.GCS.Prefix))
	case s.AzureBlob != nil:
		return folder("azure://", s.AzureBlob.Account, s.AzureBlob.Container, string(s.AzureBlob.Prefix))
	case s.PersistentVolumeClaim != nil:
		return folder("pvc://", s.PersistentVolumeClaim.ClaimName, s.PersistentVolumeClaim.Path)
	case s.HTTP != nil && len(s.HTTP.Items) > 0:
		return s.HTTP.Items[0].URL
	}
	return ""
}

// modelOfHub returns the name of a model or a dataset, with a revision that is not the
// default one.
func modelOfHub(h *modelv1alpha1.HuggingFaceSource) string {
	name := h.Model
	if h.Dataset != "" {
		name = policy.DatasetPrefix + h.Dataset
	}
	if h.Revision != "" && h.Revision != defaultRevision {
		name += "@" + shortCommit(h.Revision)
	}
	return name
}

// shortCommit returns a revision, of a commit the digits that people compare.
func shortCommit(revision string) string {
	const commit, digits = 40, 7
	if len(revision) == commit && strings.Trim(revision, "0123456789abcdef") == "" {
		return revision[:digits]
	}
	return revision
}

// folder returns the address of a folder.
func folder(scheme string, parts ...string) string {
	return scheme + strings.TrimRight(strings.Join(parts, "/"), "/")
}

// progressText returns how far an Artifact's run is as words, and without one how large
// the artifact is.
func progressText(a *modelv1alpha1.Artifact, p *modelv1alpha1.ProgressObservation) string {
	s := a.Status.AtProvider
	switch {
	case p != nil:
		return fmt.Sprintf("%d%%", p.Percent) + details(p) + podsText(s.Shares)
	case s.Phase == modelv1alpha1.PhaseSucceeded && s.Size > 0:
		return outcome.FormatBytes(s.Size)
	}
	return ""
}

// podsText returns how many Pods of a run of several have finished; empty for a run of one.
func podsText(s *modelv1alpha1.SharesObservation) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(" (%d of %d Pods)", len(s.Done), s.Of)
}

// details returns what is known of a progress beside its percentage.
func details(p *modelv1alpha1.ProgressObservation) string {
	var parts []string
	if p.Step != "" {
		parts = append(parts, p.Step)
	}
	switch {
	case p.BytesTotal > 0:
		parts = append(parts, fmt.Sprintf("%s of %s", outcome.FormatBytes(p.BytesDone), outcome.FormatBytes(p.BytesTotal)))
	case p.BytesDone > 0:
		parts = append(parts, outcome.FormatBytes(p.BytesDone))
	}
	if p.BytesPerSecond > 0 {
		parts = append(parts, outcome.FormatBytes(p.BytesPerSecond)+"/s")
	}
	if p.TimeLeft != nil {
		parts = append(parts, outcome.FormatDuration(p.TimeLeft.Duration)+" left")
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, ", ")
}

const (
	// barColumns is how wide a bar is.
	barColumns = 20

	// reportEvery is how often the provider reports the progress of a run at most.
	reportEvery = 15 * time.Second
)

// progressBar returns how far a run is as a bar and words, with a mark before the
// percentage.
func progressBar(p *modelv1alpha1.ProgressObservation, share float64, mark string) string {
	return fmt.Sprintf("%s %4s%s", terminal.Bar(share, barColumns), fmt.Sprintf("%s%d%%", mark, int(100*share)), details(p))
}

// estimated returns the progress of a run some time after it was reported, by its rate,
// and the share that is done. It runs no further ahead than until the next report is due.
func estimated(p *modelv1alpha1.ProgressObservation, after time.Duration) (*modelv1alpha1.ProgressObservation, float64) {
	share := float64(p.Percent) / 100
	after = min(max(after, 0), reportEvery)
	moved := int64(float64(p.BytesPerSecond) * after.Seconds())
	if p.BytesTotal <= 0 || moved <= 0 {
		return p, share
	}
	out := p.DeepCopy()
	out.BytesDone = min(p.BytesDone+moved, p.BytesTotal)
	byBytes := func(n int64) float64 { return float64(n) / float64(p.BytesTotal) }
	// With several steps the percentage is of all of them, and the bytes are of one.
	if int32(100*byBytes(p.BytesDone)) == p.Percent {
		share = byBytes(out.BytesDone)
		out.Percent = int32(100 * share)
	}
	if left := out.BytesTotal - out.BytesDone; left <= 0 {
		out.TimeLeft = nil
	} else if out.TimeLeft != nil {
		out.TimeLeft.Duration = max(out.TimeLeft.Duration-after.Round(time.Second), 0)
	}
	return out, share
}
