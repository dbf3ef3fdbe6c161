package outcome

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseProgress(t *testing.T) {
	type want struct {
		progress Progress
		err      bool
	}
	cases := map[string]struct {
		reason string
		args   string
		want   want
	}{
		"Whole": {
			reason: "All that a worker says should be read.",
			args:   `{"step":"copy","percent":31,"bytesDone":310,"bytesTotal":1000,"bytesPerSecond":10}` + "\n",
			want:   want{progress: Progress{Step: "copy", Percent: 31, BytesDone: 310, BytesTotal: 1000, BytesPerSecond: 10}},
		},
		"Begun":     {reason: "The progress of a run that has just started should be parsed.", args: `{"percent":0}`},
		"Empty":     {reason: "An error should be returned for an empty response.", args: "", want: want{err: true}},
		"Null":      {reason: "An error should be returned for null.", args: "null", want: want{err: true}},
		"Array":     {reason: "An error should be returned for a list.", args: "[]", want: want{err: true}},
		"HTML":      {reason: "An error should be returned for an error page.", args: "<html>", want: want{err: true}},
		"Two":       {reason: "An error should be returned for two objects.", args: `{"percent":1}{"percent":2}`, want: want{err: true}},
		"Cut":       {reason: "An error should be returned for a truncated object.", args: `{"percent":1`, want: want{err: true}},
		"WrongType": {reason: "An error should be returned for a field of another type.", args: `{"percent":"1"}`, want: want{err: true}},
		"Overflow":  {reason: "An error should be returned for a number that is too large.", args: `{"bytesDone":99999999999999999999}`, want: want{err: true}},
		"TooLong":   {reason: "An error should be returned for a response that is too long.", args: `{"percent":1}` + strings.Repeat(" ", MaxProgressBytes), want: want{err: true}},
		"Newer":     {reason: "Unknown fields of a newer worker should be ignored.", args: `{"percent":1,"layers":7}`, want: want{progress: Progress{Percent: 1}}},
		"Clamped": {
			reason: "No more should be done than the total.",
			args:   `{"percent":400,"bytesDone":2000,"bytesTotal":1000}`,
			want:   want{progress: Progress{Percent: 100, BytesDone: 1000, BytesTotal: 1000}},
		},
		"Negative": {
			reason: "Negative numbers should become zero.",
			args:   `{"percent":-4,"bytesDone":-1,"bytesTotal":-2,"bytesPerSecond":-3}`,
		},
		"Unknown": {
			reason: "Bytes should be kept while the total is not known.",
			args:   `{"percent":0,"bytesDone":5}`,
			want:   want{progress: Progress{BytesDone: 5}},
		},
		"Step": {
			reason: "A step that is no word should be dropped, since it would get into a status.",
			args:   `{"step":"<b>Look here</b>","percent":1}`,
			want:   want{progress: Progress{Percent: 1}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseProgress([]byte(tc.args))
			if diff := cmp.Diff(tc.want.progress, got); diff != "" || (err != nil) != tc.want.err {
				t.Errorf("\n%s\nParseProgress(...): -want, +got:\n%s\nerror: %v", tc.reason, diff, err)
			}
		})
	}
}

func TestTimeLeft(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Progress
		want   time.Duration
		known  bool
	}{
		"Seconds": {reason: "Less than a minute should be rounded to seconds.", args: Progress{BytesDone: 10, BytesTotal: 100, BytesPerSecond: 7}, want: 13 * time.Second, known: true},
		"Minutes": {reason: "Less than an hour should be rounded to ten seconds.", args: Progress{BytesTotal: 333, BytesPerSecond: 1}, want: 5*time.Minute + 30*time.Second, known: true},
		"Hours":   {reason: "More than an hour should be rounded to minutes.", args: Progress{BytesTotal: 7519, BytesPerSecond: 1}, want: 2*time.Hour + 5*time.Minute, known: true},
		"Still":   {reason: "There should be no estimate at a rate of zero.", args: Progress{BytesTotal: 100}},
		"Unknown": {reason: "There should be no estimate without a total.", args: Progress{BytesDone: 10, BytesPerSecond: 7}},
		"Over":    {reason: "There should be no estimate when nothing is left.", args: Progress{BytesDone: 100, BytesTotal: 100, BytesPerSecond: 7}},
		"Forever": {reason: "There should be no estimate beyond the longest one.", args: Progress{BytesTotal: math.MaxInt64, BytesPerSecond: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, known := tc.args.TimeLeft()
			if got != tc.want || known != tc.known {
				t.Errorf("\n%s\nTimeLeft(): want %s, %t, got %s, %t", tc.reason, tc.want, tc.known, got, known)
			}
		})
	}
}

func FuzzParseProgress(f *testing.F) {
	f.Add([]byte(`{"step":"copy","percent":31,"bytesDone":310,"bytesTotal":1000,"bytesPerSecond":10}`))
	f.Add([]byte(`{"percent":-1,"bytesDone":9223372036854775807,"bytesTotal":1,"bytesPerSecond":-9223372036854775808}`))
	f.Add([]byte(`{"step":"\u0000"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProgress(b)
		if err != nil {
			if (p != Progress{}) {
				t.Errorf("want nothing with an error, got %+v", p)
			}
			return
		}
		if p.Percent < 0 || p.Percent > 100 || p.BytesDone < 0 || p.BytesTotal < 0 || p.BytesPerSecond < 0 {
			t.Errorf("out of bounds: %+v", p)
		}
		if p.BytesTotal > 0 && p.BytesDone > p.BytesTotal {
			t.Errorf("more is done than there is to do: %+v", p)
		}
		if len(p.Step) > 32 {
			t.Errorf("a long step: %q", p.Step)
		}
		if left, ok := p.TimeLeft(); ok && (left <= 0 || left > longestLeft+time.Minute) {
			t.Errorf("no time left: %s", left)
		}
		encoded, err := json.Marshal(p)
		if err != nil || len(encoded) > MaxProgressBytes {
			t.Fatalf("cannot be encoded again: %q, %v", encoded, err)
		}
		if again, err := ParseProgress(encoded); err != nil || again != p {
			t.Errorf("encoded and parsed again: want %+v, got %+v, %v", p, again, err)
		}
	})
}
