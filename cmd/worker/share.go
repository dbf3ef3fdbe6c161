package main

import (
	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// shareFlags are the flags of a run that several Pods share.
type shareFlags struct {
	of      int
	indexes string
	parts   []string
}

func shareFlagsOf(run *kingpin.CmdClause) *shareFlags {
	f := &shareFlags{}
	run.Flag("shares", "How many Pods share the run, 1 to 64; 0 for one Pod that does all. In an Indexed Job's Pod it transfers the share of its index; elsewhere it completes what the shares have transferred.").
		Default("0").IntVar(&f.of)
	run.Flag("share-indexes", "Shares of the Job's Pods by their completion index, separated by commas; each its own index without it.").StringVar(&f.indexes)
	run.Flag("share-part", "Digest of the part of the checkpoint that a share has reported, for the run that completes them. May be repeated.").StringsVar(&f.parts)
	return f
}

// value returns the share of the Pod with this completion index; empty for none.
func (f *shareFlags) value(kind, completion string) (pipeline.Share, error) {
	if f.of != 0 && kind != "Stream" {
		return pipeline.Share{}, outcome.Errorf(outcome.Unsupported, "pipeline %s cannot be shared by several Pods: leave spec.forProvider.job.parallelism out, or set spec.forProvider.pipeline to Stream", kind)
	}
	s, err := pipeline.ParseShare(f.of, completion, f.indexes)
	if err == nil && s.Last {
		s.Parts = f.parts
	}
	return s, err
}
