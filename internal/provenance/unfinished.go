package provenance

// UnfinishedType is the type of a manifest that holds what a run has pushed so
// far of an artifact.
const UnfinishedType = "application/vnd.kitops.crossplane.unfinished.v1+json"

// UnfinishedTag returns the tag of that manifest for a run hash; empty for what
// is no run hash.
func UnfinishedTag(runHash string) string {
	if !hashPattern.MatchString(runHash) {
		return ""
	}
	return "kitops-unfinished-" + runHash
}
