package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseShare(t *testing.T) {
	type args struct {
		of                  int
		completion, indexes string
	}
	type want struct {
		Share Share
		Bad   bool
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"None":         {reason: "A run of one Pod has no share."},
		"OtherJob":     {reason: "An Indexed Job of somebody else, in which the worker does all, should not matter.", args: args{completion: "1"}},
		"Own":          {reason: "A Pod should transfer the share of its index.", args: args{of: 3, completion: "2"}, want: want{Share: Share{Of: 3, Index: 2}}},
		"Last":         {reason: "A Pod without an index should complete the run.", args: args{of: 3}, want: want{Share: Share{Of: 3, Last: true}}},
		"Again":        {reason: "Pods of a Job that repeats some shares should have these.", args: args{of: 8, completion: "1", indexes: "3,5"}, want: want{Share: Share{Of: 8, Index: 5}}},
		"TooMany":      {reason: "The number of shares should be bounded.", args: args{of: 65, completion: "1"}, want: want{Bad: true}},
		"Negative":     {reason: "A number below 0 should be refused.", args: args{of: -1}, want: want{Bad: true}},
		"NoSuchShare":  {reason: "An index beyond the shares should be refused.", args: args{of: 3, completion: "3"}, want: want{Bad: true}},
		"NoIndex":      {reason: "An index that is no number should be refused.", args: args{of: 3, completion: "a"}, want: want{Bad: true}},
		"NoPlace":      {reason: "A Pod beyond the repeated shares should be refused.", args: args{of: 8, completion: "2", indexes: "3,5"}, want: want{Bad: true}},
		"NoSuchRepeat": {reason: "A repeated share beyond the shares should be refused.", args: args{of: 4, completion: "0", indexes: "4"}, want: want{Bad: true}},
		"NotDivided":   {reason: "Shares of a run that is not divided should be refused.", args: args{indexes: "1"}, want: want{Bad: true}},
		"NotIndexed":   {reason: "Repeated shares of a Job without indexes should be refused.", args: args{of: 3, indexes: "1"}, want: want{Bad: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := ParseShare(tc.args.of, tc.args.completion, tc.args.indexes)
			if diff := cmp.Diff(tc.want, want{Share: s, Bad: err != nil}); diff != "" {
				t.Errorf("\n%s\nParseShare(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if s.IsPart() != (tc.args.of > 0 && tc.args.completion != "" && err == nil) {
				t.Errorf("\n%s\nIsPart(): got %t", tc.reason, s.IsPart())
			}
		})
	}
}
