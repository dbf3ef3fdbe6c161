package kit

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKitVersion(t *testing.T) {
	type want struct {
		version release
		ok      bool
	}
	cases := map[string]struct {
		reason string
		lines  []string
		want   want
	}{
		"Release": {
			reason: "The version of a released kit should be parsed.",
			lines:  []string{"Version: 1.16.0", "Commit: 0123abc", "Go version: go1.25.1"},
			want:   want{version: release{1, 16, 0}, ok: true},
		},
		"NotFirst": {
			reason: "A notice before the version should be skipped.",
			lines:  []string{"Migrating local storage to new format", "Version: v1.7.0"},
			want:   want{version: release{1, 7, 0}, ok: true},
		},
		"Suffix": {
			reason: "What follows the patch number should be ignored.",
			lines:  []string{"Version: 1.16.0-rc1+dirty"},
			want:   want{version: release{1, 16, 0}, ok: true},
		},
		"Development": {
			reason: "A kit that was not built for a release should have no version.",
			lines:  []string{"Version: unknown", "Go version: go1.25.1"},
		},
		"Next": {
			reason: "A name in place of a version should be no version.",
			lines:  []string{"Version: next-5f3c2a1"},
		},
		"Nothing": {reason: "An empty output should have no version."},
		"Huge": {
			reason: "A number that is none of a version should not be taken for one.",
			lines:  []string{"Version: 99999999999999999999.0.0"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v, ok := parseRelease(tc.lines)
			if diff := cmp.Diff(tc.want, want{v, ok}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nparseKitVersion(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestKitVersionBefore(t *testing.T) {
	cases := map[string]struct {
		reason string
		a, b   release
		want   bool
	}{
		"Minor":  {reason: "Versions should be compared by number.", a: release{1, 9, 0}, b: release{1, 10, 0}, want: true},
		"Equal":  {reason: "A version should not be before itself.", a: release{1, 15, 0}, b: release{1, 15, 0}},
		"Major":  {reason: "The major number should decide first.", a: release{2, 0, 0}, b: release{1, 15, 0}},
		"Patch":  {reason: "The patch number should decide last.", a: release{1, 15, 0}, b: release{1, 15, 1}, want: true},
		"Newest": {reason: "A newer version should not be before an older one.", a: release{1, 17, 3}, b: release{1, 15, 9}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.a.before(tc.b); got != tc.want {
				t.Errorf("\n%s\n%s.before(%s): want %t, got %t", tc.reason, tc.a, tc.b, tc.want, got)
			}
		})
	}
}
