package source

import (
	"context"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A named is a folder that has a name and nothing else.
type named struct{ Folder }

func (named) Name() string { return "s3://models/team" }

// TestSelectionIsBounded has patterns take longer than they may.
func TestSelectionIsBounded(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	cases := map[string]struct {
		reason   string
		ctx      context.Context
		patience time.Duration
		want     outcome.Reason
		is       error
	}{
		"Run":       {reason: "A run should select files for as long as that takes.", ctx: context.Background()},
		"InTime":    {reason: "Files that are selected in time should be returned.", ctx: context.Background(), patience: time.Hour},
		"TooLong":   {reason: "Patterns that take too long should be said to need a person.", ctx: context.Background(), patience: time.Nanosecond, want: outcome.Unsupported},
		"Cancelled": {reason: "The end of the program should be no fault of the patterns.", ctx: ended, patience: time.Hour, is: context.Canceled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := &folder{Folder: named{}, source: pipeline.Source{Files: file.Filter{Include: []string{"*a*b"}}}, patience: tc.patience}
			files, err := o.wanted(tc.ctx, []file.File{{Path: "ab"}, {Path: "c"}})
			switch {
			case tc.want != "":
				if outcome.ReasonOf(err) != tc.want {
					t.Errorf("\n%s\nwanted(...): want %s, got %v", tc.reason, tc.want, err)
				}
			case tc.is != nil:
				if !errors.Is(err, tc.is) {
					t.Errorf("\n%s\nwanted(...): want %v, got %v", tc.reason, tc.is, err)
				}
			case err != nil || len(files) != 1:
				t.Errorf("\n%s\nwanted(...): got %v, %v", tc.reason, files, err)
			}
		})
	}
}
