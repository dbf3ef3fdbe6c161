package pipeline

import "testing"

func TestParallelCheck(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Parallel
		want   bool
	}{
		"Zero":        {reason: "The run may choose.", want: true},
		"Least":       {reason: "One layer after the other is allowed.", args: Parallel{Layers: 1, Buffer: MinBuffer}, want: true},
		"Most":        {reason: "As many layers as the API allows are allowed.", args: Parallel{Layers: MaxParallelLayers}, want: true},
		"TooMany":     {reason: "More than the API allows are refused.", args: Parallel{Layers: MaxParallelLayers + 1}},
		"Negative":    {reason: "There is no negative number of layers.", args: Parallel{Layers: -1}},
		"TooSmall":    {reason: "Less than the API allows is refused.", args: Parallel{Buffer: MinBuffer - 1}},
		"NegativeBuf": {reason: "There is no negative size.", args: Parallel{Buffer: -1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.args.Check(); (err == nil) != tc.want {
				t.Errorf("\n%s\nCheck() of %+v: got %v", tc.reason, tc.args, err)
			}
		})
	}
}
