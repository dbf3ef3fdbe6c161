package policy

import (
	"fmt"
	"slices"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Scan is the Hub's security scan of a model's commit.
type Scan struct {
	// Known reports whether the Hub told of a scan: mirrors, and registries, do not.
	Known bool

	// Done reports whether the scan has ended. It begins after a push, and may take
	// minutes.
	Done bool

	// Issues are the files that the scan did not find safe.
	Issues []Issue
}

// An Issue is a file that a scan did not find safe.
type Issue struct {
	// Path of the file.
	Path string

	// Level as the Hub has it: unscanned, queued, error, caution, suspicious or
	// unsafe. One that is not known counts as an issue, too.
	Level string
}

// Verdicts of a scan, beside the level of an issue.
const (
	// VerdictClean: the Hub scanned all files and found them safe.
	VerdictClean = "clean"

	// VerdictPending: the Hub has not scanned all files yet.
	VerdictPending = "pending"

	// VerdictMissing: there is no scan.
	VerdictMissing = "missing"
)

const (
	levelSafe      = "safe"
	levelQueued    = "queued"
	levelUnscanned = "unscanned"
)

// levels of issues, the worst first. An unknown one is as bad as unsafe.
var levels = []string{"unsafe", "suspicious", "caution", "error"}

// maxLevelBytes bounds the level of an issue, which comes from the Hub.
const maxLevelBytes = 32

// Verdict returns what the scan says of these files, in one word, with the files that
// are not safe: clean, pending, missing, or the worst level of them.
func (s Scan) Verdict(files []File) (string, []string) {
	if !s.Known {
		return VerdictMissing, nil
	}
	packed := make(map[string]bool, len(files))
	for _, f := range files {
		packed[f.Path] = true
	}
	worst, pending := len(levels), !s.Done
	var named []string
	verdict := VerdictClean
	for _, i := range s.Issues {
		switch {
		case !packed[i.Path] || i.Level == levelSafe:
			continue
		case i.Level == levelQueued || i.Level == levelUnscanned:
			pending = true
			continue
		}
		rank := max(slices.Index(levels, i.Level), 0)
		if rank < worst {
			worst, verdict = rank, levels[rank]
		}
		named = append(named, fmt.Sprintf("%s (%s)", outcome.Shorten(i.Path), i.Level[:min(len(i.Level), maxLevelBytes)]))
	}
	if verdict == VerdictClean && pending {
		return VerdictPending, nil
	}
	slices.Sort(named)
	return verdict, named
}

// CheckScan returns an error unless the policies allow files with this scan: with
// reason PolicyViolation if a policy requires a clean one, and with reason
// Unavailable, which is retried, while the Hub has not finished it.
func (s Set) CheckScan(scan Scan, files []File) error {
	verdict, named := scan.Verdict(files)
	return s.checkVerdict(verdict, some(named))
}

// CheckVerdict returns an error with reason PolicyViolation unless the policies allow
// what has a verdict that was recorded; "" is one that was not asked for.
func (s Set) CheckVerdict(verdict string) error {
	if verdict != "" && verdict != VerdictPending {
		return s.checkVerdict(verdict, "")
	}
	return s.check(func(p Policy) error {
		if p.HubScan != HubScanRequire {
			return nil
		}
		return p.violation("requires a clean security scan of the Hub (spec.policy.hubScan), and the run did not ask for it, or it was not finished",
			"request another run with a new value of the annotation crossplane.io/reconcile-requested-at, or have the rule changed")
	})
}

func (s Set) checkVerdict(verdict, named string) error {
	if verdict == VerdictClean {
		return nil
	}
	return s.check(func(p Policy) error {
		if p.HubScan != HubScanRequire {
			return nil
		}
		const cure = "leave such files out in spec.forProvider.source.files, write another revision or source, or have the rule changed"
		switch verdict {
		case VerdictMissing:
			return p.violation("requires a clean security scan of the Hub (spec.policy.hubScan), and there is none for this source",
				"write a model of https://huggingface.co in spec.forProvider.source, or have the rule changed")
		case VerdictPending:
			return outcome.Errorf(outcome.Unavailable, "%s requires a clean security scan of the Hub (spec.policy.hubScan), which is not finished: it may take minutes after a push, and the run is retried", p.Of)
		}
		if named == "" {
			named = "its files (" + verdict + ")"
		}
		return p.violation("requires a clean security scan of the Hub (spec.policy.hubScan), and it did not find safe: "+named, cure)
	})
}

// Warnings returns what the policies warn of in a scan's verdict; "" for nothing.
func (s Set) Warnings(verdict string) string {
	warns := slices.ContainsFunc(s, func(p Policy) bool { return p.HubScan == HubScanWarn })
	if !warns || verdict == "" || verdict == VerdictClean {
		return ""
	}
	return "the Hub's security scan says: " + verdict
}
