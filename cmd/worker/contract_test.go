package main

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestCheckContract(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Same":    {reason: "A run of the same contract should be accepted.", args: []string{"--pipeline=Stream", "--contract=5"}},
		"Newer":   {reason: "A run of a newer provider should be refused, whatever its other flags are.", args: []string{"--unknown=1", "--contract=6"}, want: "the worker's image is older than the provider"},
		"Older":   {reason: "A run of an older provider should be refused.", args: []string{"--contract=1"}, want: "the provider is older than the worker's image"},
		"Missing": {reason: "A run without a contract should be refused.", args: []string{"--tag=v1"}, want: "the provider is older than the worker's image"},
		"Invalid": {reason: "A contract that is not a number should be refused.", args: []string{"--contract=x"}, want: "the provider is older than the worker's image"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := checkContract(tc.args)
			if tc.want == "" {
				if err != nil {
					t.Errorf("\n%s\ncheckContract(...): %v", tc.reason, err)
				}
				return
			}
			if err == nil || outcome.ReasonOf(err) != outcome.TooOld || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("\n%s\ncheckContract(...): want %q with reason TooOld, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
