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

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

var (
	testDigest   = "sha256:" + strings.Repeat("1a", 32)
	testRevision = strings.Repeat("2b", 20)
)

// written returns the termination message that a result writes.
func written(t *testing.T, r Result) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "termination-log")
	// The kubelet creates the file.
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
	result, _, _ := strings.Cut(string(out), "\n")
	if len(result) >= MaxMessageBytes || len(out) > maxTailBytes || !utf8.Valid(out) {
		t.Errorf("The result has %d bytes, less than %d are allowed, and the message %d, at most %d are allowed; UTF-8: %t",
			len(result), MaxMessageBytes, len(out), maxTailBytes, utf8.Valid(out))
	}
	return string(out)
}

func TestResultRoundTrip(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Result
	}{
		"Success": {reason: "A result should keep all of its fields.", args: Result{Digest: testDigest, Size: 1 << 40, Files: 10, Revision: testRevision, License: "apache-2.0", FileList: testDigest}},
		"Share":   {reason: "A share should keep all of its fields.", args: Result{Revision: testRevision, Share: &Share{Index: 1, Of: 4, Layers: 7, Bytes: 1 << 40, Part: testDigest}}},
		"Digest":  {reason: "A result with only a digest should be valid.", args: Result{Digest: testDigest}},
		"Failure": {reason: "A failure should keep its reason, message and wait.", args: Failed(Errorf(RateLimited, `the Hub said "slow down" <later>`).After(time.Minute))},
		"Tail":    {reason: "A failure should keep the end of the log.", args: Result{Failure: &Failure{Reason: Mismatch, Message: "bytes differ", LogTail: []string{"one \"line\"", "{}", "another"}}}},
		"Late":    {reason: "A failure should keep the revision.", args: Result{Revision: testRevision, Failure: &Failure{Reason: Mismatch, Message: "bytes differ"}}},
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

// TestFailedFits checks that any failure fits into a termination message, whatever
// a server answered.
func TestFailedFits(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"Short":       {reason: "A short message should be kept.", args: "no such model", want: "no such model"},
		"Long":        {reason: "A long message should be truncated.", args: strings.Repeat("a", 10000), want: "aaa"},
		"Controls":    {reason: "Control characters, which JSON escapes with six bytes, should be folded.", args: "x" + strings.Repeat("\x01\x1f\x7f", 1000) + "y", want: "x y"},
		"Quotes":      {reason: "A message of quotes, which JSON escapes with two bytes, should fit.", args: strings.Repeat(`"\`, 5000), want: `"\"\`},
		"Markup":      {reason: "A message of brackets, which JSON may escape with six bytes, should fit.", args: strings.Repeat("<a>&", 2000), want: "<a>&"},
		"MultiByte":   {reason: "A message should be truncated between runes.", args: strings.Repeat("ä€😀", 1000), want: "ä€😀"},
		"Separators":  {reason: "Line separators, which JSON escapes with six bytes, should be folded.", args: "x" + strings.Repeat("\u2028\u2029", 1000) + "y", want: "x"},
		"NoUTF8":      {reason: "Invalid UTF-8, which JSON escapes with six bytes, should fit.", args: strings.Repeat("\xff\xfe", 3000)},
		"NoUTF8First": {reason: "Text after invalid UTF-8 should be kept.", args: "\xff" + strings.Repeat("reason ", 1000), want: "reason"},
		"Empty":       {reason: "An error without a message should be written."},
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

// TestResultFits checks that a success fits into a termination message, whatever a
// Hub says about the model.
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
		"Own":     {reason: "The failure should have the error's reason and message.", args: Errorf(Gated, "ask for access"), want: Failure{Reason: Gated, Message: "ask for access"}},
		"Wrapped": {reason: "The failure should have the whole message of a wrapped error.", args: errors.Wrap(Errorf(Gated, "ask for access"), "cannot list files"), want: Failure{Reason: Gated, Message: "cannot list files: ask for access"}},
		"Waits":   {reason: "The failure should have the wait that a server asked for.", args: errors.Wrap(Errorf(RateLimited, "x").After(90*time.Second), "y"), want: Failure{Reason: RateLimited, Message: "y: x", RetryAfterSeconds: 90}},
		"NoSooner": {
			reason: "A part of a second should be rounded up, so that no retry comes too soon.",
			args:   Errorf(RateLimited, "x").After(1500 * time.Millisecond),
			want:   Failure{Reason: RateLimited, Message: "x", RetryAfterSeconds: 2},
		},
		"Other": {reason: "An error without a reason should be Internal.", args: errBoom, want: Failure{Reason: Internal, Message: "boom"}},
		"Signed": {
			reason: "The query of a URL, which may contain a signature, should be removed.",
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
		"Success":       {reason: "A success should be parsed.", args: encode(Result{Digest: testDigest, Files: 1}), want: want{Result: Result{Digest: testDigest, Files: 1}, OK: true}},
		"Failure":       {reason: "A failure should be parsed.", args: encode(failure), want: want{Result: failure, OK: true}},
		"Share":         {reason: "A share should be parsed, though it has no digest.", args: `{"share":{"index":0,"of":1}}`, want: want{Result: Result{Share: &Share{Of: 1}}, OK: true}},
		"NoSuchShare":   {reason: "A share beyond their number should be no result.", args: `{"share":{"index":3,"of":3}}`},
		"ManyShares":    {reason: "More shares than there can be should be no result.", args: `{"share":{"index":1,"of":65}}`},
		"SharePart":     {reason: "A part that is no digest should be left out.", args: `{"share":{"index":0,"of":1,"part":"latest"}}`, want: want{Result: Result{Share: &Share{Of: 1}}, OK: true}},
		"ShareOfStaged": {reason: "What staged an artifact should be no share.", args: `{"digest":"` + testDigest + `","share":{"index":0,"of":1}}`, want: want{Result: Result{Digest: testDigest}, OK: true}},
		"Bare":          {reason: "A bare digest should be parsed.", args: testDigest, want: want{Result: Result{Digest: testDigest}, OK: true}},
		"WhiteSpace":    {reason: "Surrounding white space should be ignored.", args: " \n" + testDigest + "\r\n", want: want{Result: Result{Digest: testDigest}, OK: true}},
		"NewerWorker":   {reason: "Unknown fields of a newer worker should be ignored.", args: `{"digest":"` + testDigest + `","layers":3}`, want: want{Result: Result{Digest: testDigest}, OK: true}},
		"FailureLines":  {reason: "The message of a foreign failure should be folded into one line.", args: `{"failure":{"reason":"Gated","message":"ask\n for\taccess"}}`, want: want{Result: failure, OK: true}},
		"Empty":         {reason: "An empty message should not be a result."},
		"Text":          {reason: "A text should not be a result.", args: "pushed " + testDigest},
		"TwoDigests":    {reason: "Two digests should not be a result.", args: testDigest + "\n" + testDigest},
		"OtherHash":     {reason: "A digest of another algorithm should not be a result.", args: "md5:00"},
		"UpperCase":     {reason: "A digest in upper case should not be a result.", args: strings.ToUpper(testDigest)},
		"TooLong":       {reason: "A digest of more than 64 digits should not be a result.", args: testDigest + "0"},
		"NoDigest":      {reason: "A success without a digest should not be a result.", args: `{"size":1}`},
		"NullFailure":   {reason: "A failure of null should not be a result.", args: `{"failure":null}`},
		"BadDigest":     {reason: "A success with an invalid digest should not be a result.", args: `{"digest":"latest"}`, want: want{Result: Result{Digest: "latest"}}},
		"Half":          {reason: "A truncated message should not be a result.", args: `{"digest":"` + testDigest + `","si`},
		"Array":         {reason: "A list should not be a result.", args: `["` + testDigest + `"]`},
		"Two":           {reason: "Two results should not be a result.", args: encode(failure) + encode(failure)},
		"NoReason":      {reason: "A failure without a reason should not be a result.", args: `{"failure":{"message":"x"}}`, want: want{Result: Result{Failure: &Failure{Message: "x"}}}},
		"ReasonIsWord":  {reason: "A failure whose reason is more than a word should not be a result.", args: `{"failure":{"reason":"not one\nword","message":"x"}}`},
		"ReasonIsShort": {reason: "A failure with a long reason should not be a result.", args: `{"failure":{"reason":"` + strings.Repeat("A", 3000) + `","message":"x"}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse(tc.args)
			if !tc.want.OK {
				// The result is undefined if there is none.
				got, tc.want.Result = Result{}, Result{}
			}
			if diff := cmp.Diff(tc.want, want{Result: got, OK: ok}); diff != "" {
				t.Errorf("\n%s\nParse(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
