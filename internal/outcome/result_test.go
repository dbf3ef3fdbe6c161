package outcome

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
)

var (
	testDigest   = "sha256:" + strings.Repeat("1a", 32)
	testRevision = strings.Repeat("2b", 20)
)

// written returns what a result leaves in the termination message's file.
func written(t *testing.T, r Result) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "termination-log")
	// The kubelet has made the file already.
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(path); err != nil {
		t.Fatalf("Write(): %v", err)
	}
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > MaxMessageBytes || !utf8.Valid(out) {
		t.Errorf("The message has %d bytes, at most %d are allowed; UTF-8: %t", len(out), MaxMessageBytes, utf8.Valid(out))
	}
	return string(out)
}

func TestResultRoundTrip(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Result
	}{
		"Success": {reason: "A worker says all it knows.", args: Result{Digest: testDigest, Size: 1 << 40, Files: 10, Revision: testRevision, License: "apache-2.0"}},
		"Digest":  {reason: "A digest is enough.", args: Result{Digest: testDigest}},
		"Failure": {reason: "A worker says why it failed.", args: Failed(Errorf(RateLimited, `the Hub said "slow down" <later>`).After(time.Minute))},
		"Late":    {reason: "A run may fail after it knew its revision.", args: Result{Revision: testRevision, Failure: &Failure{Reason: Mismatch, Message: "bytes differ"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse(written(t, tc.args))
			if !ok {
				t.Errorf("\n%s\nParse(): what a worker wrote is no result", tc.reason)
			}
			if diff := cmp.Diff(tc.args, got); diff != "" {
				t.Errorf("\n%s\nParse(Write()): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestFailedFits checks that each failure can be written, whatever a server
// said: a run that failed must not fail to say so.
func TestFailedFits(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"Short":       {reason: "What is short is kept.", args: "no such model", want: "no such model"},
		"Long":        {reason: "What is long is cut.", args: strings.Repeat("a", 10000), want: "aaa"},
		"Controls":    {reason: "JSON makes six bytes of a control character.", args: "x" + strings.Repeat("\x01\x1f\x7f", 1000) + "y", want: "x y"},
		"Quotes":      {reason: "JSON makes two bytes of a quote.", args: strings.Repeat(`"\`, 5000), want: `"\"\`},
		"Markup":      {reason: "JSON may make six bytes of a bracket, of which an error page is full.", args: strings.Repeat("<a>&", 2000), want: "<a>&"},
		"MultiByte":   {reason: "A rune is not cut.", args: strings.Repeat("ä€😀", 1000), want: "ä€😀"},
		"Separators":  {reason: "JSON makes six bytes of a line separator, which is white space.", args: "x" + strings.Repeat("\u2028\u2029", 1000) + "y", want: "x"},
		"NoUTF8":      {reason: "JSON makes six bytes of a byte that is no UTF-8.", args: strings.Repeat("\xff\xfe", 3000)},
		"NoUTF8First": {reason: "A byte that is no UTF-8 does not hide the rest.", args: "\xff" + strings.Repeat("reason ", 1000), want: "reason"},
		"Empty":       {reason: "An error may say nothing."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse(written(t, Failed(errors.New(tc.args))))
			if !ok || got.Failure == nil {
				t.Fatalf("\n%s\nParse(): %+v, %t", tc.reason, got, ok)
			}
			message := got.Failure.Message
			if !strings.Contains(message, tc.want) {
				t.Errorf("\n%s\nmessage: want about %q, got %q", tc.reason, tc.want, message)
			}
			checkText(t, tc.reason, message)
		})
	}
}

// checkText checks that a message is a bounded line of text.
func checkText(t *testing.T, reason, message string) {
	t.Helper()
	switch {
	case len(message) > maxTextBytes:
		t.Errorf("\n%s\nmessage has %d bytes, at most %d are allowed", reason, len(message), maxTextBytes)
	case !utf8.ValidString(message):
		t.Errorf("\n%s\nmessage is no UTF-8: %q", reason, message)
	case strings.ContainsFunc(message, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }):
		t.Errorf("\n%s\nmessage is not one line of text: %q", reason, message)
	}
}

// TestResultFits checks that what a Hub says of a model cannot keep a run that
// went well from saying so.
func TestResultFits(t *testing.T) {
	r := Result{Digest: testDigest, Size: 1 << 62, Files: 1 << 30, Revision: testRevision, License: strings.Repeat(`<"\`, 3000)}
	got, ok := Parse(written(t, r))
	if !ok || got.Digest != testDigest {
		t.Errorf("Parse(Write()): %+v, %t", got, ok)
	}
}

func TestFailed(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   error
		want   Failure
	}{
		"Own":     {reason: "An error's reason and message are the failure's.", args: Errorf(Gated, "ask for access"), want: Failure{Reason: Gated, Message: "ask for access"}},
		"Wrapped": {reason: "What others add is shown.", args: errors.Wrap(Errorf(Gated, "ask for access"), "cannot list files"), want: Failure{Reason: Gated, Message: "cannot list files: ask for access"}},
		"Waits":   {reason: "What a server asked is kept.", args: errors.Wrap(Errorf(RateLimited, "x").After(90*time.Second), "y"), want: Failure{Reason: RateLimited, Message: "y: x", RetryAfterSeconds: 90}},
		"NoSooner": {
			reason: "No sooner means no sooner: a part of a second counts.",
			args:   Errorf(RateLimited, "x").After(1500 * time.Millisecond),
			want:   Failure{Reason: RateLimited, Message: "x", RetryAfterSeconds: 2},
		},
		"Other": {reason: "Any error is a failure.", args: errBoom, want: Failure{Reason: Internal, Message: "boom"}},
		"Signed": {
			reason: "A signed address is a secret for as long as it holds.",
			args:   errors.Wrap(&url.Error{Op: "Get", URL: "https://cdn.example.com/f?Signature=hush", Err: errors.New("connection lost")}, "cannot get f"),
			want:   Failure{Reason: Unavailable, Message: `cannot get f: Get "https://cdn.example.com/f": connection lost`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(Result{Failure: &tc.want}, Failed(tc.args)); diff != "" {
				t.Errorf("\n%s\nFailed(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	err := Result{Digest: testDigest}.Write(filepath.Join(t.TempDir(), "missing", "file"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write() to where nothing can be written: want %v, got %v", os.ErrNotExist, err)
	}
}

func TestParse(t *testing.T) {
	type want struct {
		Result Result
		OK     bool
	}
	encode := func(r Result) string {
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	failure := Result{Failure: &Failure{Reason: Gated, Message: "ask for access"}}
	cases := map[string]struct {
		reason string
		args   string
		want   want
	}{
		"Success":       {reason: "A result is read.", args: encode(Result{Digest: testDigest, Files: 1}), want: want{Result: Result{Digest: testDigest, Files: 1}, OK: true}},
		"Failure":       {reason: "A failure is read.", args: encode(failure), want: want{Result: failure, OK: true}},
		"Bare":          {reason: "A digest alone is a result.", args: testDigest, want: want{Result: Result{Digest: testDigest}, OK: true}},
		"WhiteSpace":    {reason: "White space around is none of the result.", args: " \n" + testDigest + "\r\n", want: want{Result: Result{Digest: testDigest}, OK: true}},
		"NewerWorker":   {reason: "A newer worker may say more.", args: `{"digest":"` + testDigest + `","layers":3}`, want: want{Result: Result{Digest: testDigest}, OK: true}},
		"FailureLines":  {reason: "A message is one line, whoever wrote it.", args: `{"failure":{"reason":"Gated","message":"ask\n for\taccess"}}`, want: want{Result: failure, OK: true}},
		"Empty":         {reason: "Nothing is no result."},
		"Text":          {reason: "A text is no result.", args: "pushed " + testDigest},
		"TwoDigests":    {reason: "Two digests are no digest.", args: testDigest + "\n" + testDigest},
		"OtherHash":     {reason: "A registry's digests are sha256.", args: "md5:00"},
		"UpperCase":     {reason: "A digest has lower-case digits.", args: strings.ToUpper(testDigest)},
		"TooLong":       {reason: "A digest has 64 digits.", args: testDigest + "0"},
		"NoDigest":      {reason: "A success without a digest is no result.", args: `{"size":1}`},
		"NullFailure":   {reason: "A failure of nothing is no failure.", args: `{"failure":null}`},
		"BadDigest":     {reason: "What is no digest is none.", args: `{"digest":"latest"}`, want: want{Result: Result{Digest: "latest"}}},
		"Half":          {reason: "A message that was cut is no result.", args: `{"digest":"` + testDigest + `","si`},
		"Array":         {reason: "A list is no result.", args: `["` + testDigest + `"]`},
		"Two":           {reason: "Two results are no result.", args: encode(failure) + encode(failure)},
		"NoReason":      {reason: "A failure has a reason.", args: `{"failure":{"message":"x"}}`, want: want{Result: Result{Failure: &Failure{Message: "x"}}}},
		"ReasonIsWord":  {reason: "A condition's reason is one word.", args: `{"failure":{"reason":"not one\nword","message":"x"}}`},
		"ReasonIsShort": {reason: "A condition's reason is short.", args: `{"failure":{"reason":"` + strings.Repeat("A", 3000) + `","message":"x"}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse(tc.args)
			if !tc.want.OK {
				// What is beside a false ok is nobody's business.
				got, tc.want.Result = Result{}, Result{}
			}
			if diff := cmp.Diff(tc.want, want{Result: got, OK: ok}); diff != "" {
				t.Errorf("\n%s\nParse(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
