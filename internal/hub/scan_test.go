package hub

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestScan(t *testing.T) {
	cases := map[string]struct {
		reason string
		status int
		answer string
		want   Scan
		err    outcome.Reason
	}{
		"Clean":     {reason: "A scan without issues should be returned.", answer: `{"securityRepoStatus": {"scansDone": true, "filesWithIssues": []}}`, want: Scan{Known: true, Done: true, Issues: []ScanIssue{}}},
		"Issues":    {reason: "Files with issues should be returned.", answer: `{"securityRepoStatus": {"scansDone": false, "filesWithIssues": [{"path": "a.bin", "level": "unsafe"}]}}`, want: Scan{Known: true, Issues: []ScanIssue{{Path: "a.bin", Level: "unsafe"}}}},
		"NoList":    {reason: "A scan that lists no files should have no issues.", answer: `{"securityRepoStatus": {"scansDone": true}}`, want: Scan{Known: true, Done: true}},
		"Mirror":    {reason: "A Hub that tells of no scan should not be an error.", answer: `{"sha": "x"}`},
		"NoRoute":   {reason: "A Hub that does not know the parameter should not be an error.", status: http.StatusNotFound, answer: "Not Found"},
		"NoHub":     {reason: "What is no JSON should be no scan.", answer: "<html>"},
		"OtherForm": {reason: "Issues in another form should not count as none.", answer: `{"securityRepoStatus": {"scansDone": true, "filesWithIssues": {"a.bin": "unsafe"}}}`},
		"TooMany":   {reason: "A scan of more files than are read should be an error.", answer: `{"securityRepoStatus": {"filesWithIssues": [` + strings.TrimSuffix(strings.Repeat("{},", maxIssues+1), ",") + `]}}`, err: outcome.Unsupported},
		"Gated":     {reason: "A refusal should be an error.", status: http.StatusUnauthorized, answer: "{}", err: outcome.NotFound},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			asked := ""
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.String()
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				_, _ = fmt.Fprint(w, tc.answer)
			}))
			t.Cleanup(s.Close)
			got, err := newClient(t, Options{Endpoint: s.URL}).Scan(t.Context(), "org/model", sha)
			if diff := cmp.Diff(tc.want, got); diff != "" || reasonOf(err) != tc.err {
				t.Errorf("\n%s\nScan(...): -want, +got:\n%s\nerror: %v", tc.reason, diff, err)
			}
			if want := "/api/models/org/model/revision/" + sha + "?securityStatus=true"; asked != want {
				t.Errorf("\n%s\nrequest: want %s, got %s", tc.reason, want, asked)
			}
		})
	}
}
