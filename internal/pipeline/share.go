package pipeline

import (
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Share is what one Pod of several transfers of a run: some of the layers of its
// artifact. Once all shares are transferred, a last run of one Pod finds all layers in the
// registry and stages the artifact. The zero value is a run that is not divided.
type Share struct {
	// Of is how many shares the run is divided into, 1 to outcome.MaxShares; 0 if it is not
	// divided.
	Of int

	// Last reports whether this is the last run, which has no share of its own.
	Last bool

	// Index of the share, from 0; ignored for the last run.
	Index int

	// Parts are the digests of what the shares have recorded as transferred, as their own
	// results tell them. Only the last run has them; what is not among them it verifies.
	Parts []string
}

// IsPart reports whether the run transfers one share of several.
func (s Share) IsPart() bool { return s.Of > 0 && !s.Last }

// ParseShare returns the share of a Pod: of is the number of shares, 0 for a run that is not
// divided, completion the Pod's index in its Job, empty for the last run, and indexes are
// the shares of the Job's Pods in their order, separated by commas, empty for all of them.
func ParseShare(of int, completion, indexes string) (Share, error) {
	if of < 0 || of > outcome.MaxShares {
		return Share{}, outcome.Errorf(outcome.Internal, "a run cannot be divided into %d shares: write 1 to %d, or 0 for a run that is not divided", of, outcome.MaxShares)
	}
	s := Share{Of: of}
	switch {
	case of == 0 && indexes != "":
		return Share{}, outcome.Errorf(outcome.Internal, "--share-indexes needs --shares")
	case of == 0:
		return s, nil
	case completion == "" && indexes != "":
		return Share{}, outcome.Errorf(outcome.Internal, "--share-indexes needs the Pod's index in its Job, which an Indexed Job sets as %s", outcome.EnvCompletionIndex)
	case completion == "":
		s.Last = true
		return s, nil
	}
	at, err := shareAt(completion, indexes)
	if err != nil {
		return Share{}, err
	}
	index, err := strconv.Atoi(at)
	if err != nil || index < 0 || index >= of {
		return Share{}, outcome.Errorf(outcome.Internal, "the run has no share %q of %d", outcome.Shorten(at), of)
	}
	s.Index = index
	return s, nil
}

// shareAt returns the share of the Pod with an index in its Job: the index itself, or what
// the list of shares has at that place.
func shareAt(completion, indexes string) (string, error) {
	if indexes == "" {
		return completion, nil
	}
	shares := strings.Split(indexes, ",")
	at, err := strconv.Atoi(completion)
	if err != nil || at < 0 || at >= len(shares) {
		return "", outcome.Errorf(outcome.Internal, "the Pod's index in its Job is %q, and --share-indexes has %d shares", outcome.Shorten(completion), len(shares))
	}
	return shares[at], nil
}
