package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestReached(t *testing.T) {
	type want struct {
		found []finding
		err   bool
	}
	cases := map[string]struct {
		reason string
		output string
		want   want
	}{
		"NotCalled": {
			reason: "A module or package that is there, but whose code is not called, is no finding.",
			output: `{"config":{"protocol_version":"v1.0.0"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.0.0","package":"m/p"}]}}`,
		},
		"Called": {
			reason: "A vulnerability is reported once, however many ways lead to it.",
			output: `{"finding":{"osv":"GO-2","trace":[{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Get"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.0.0","package":"m/p","function":"F"},{"module":"main","function":"main"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.0.0","package":"m/p","function":"G"}]}}`,
			want: want{found: []finding{
				{ID: "GO-1", Module: "m", Version: "v1.0.0", Fixed: "v1.2.0", Through: "m/p.F"},
				{ID: "GO-2", Module: "stdlib", Version: "v1.26.8", Through: "net/http.Get"},
			}},
		},
		"Broken": {
			reason: "Output that cannot be read must not pass for one without findings.",
			output: `{"finding":`,
			want:   want{err: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			found, err := reached(strings.NewReader(tc.output))
			if got := (want{found: found, err: err != nil}); !reflect.DeepEqual(tc.want, got) {
				t.Errorf("%s\nwant %+v, got %+v: %v", tc.reason, tc.want, got, err)
			}
		})
	}
}
