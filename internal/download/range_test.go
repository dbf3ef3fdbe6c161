package download

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestContentRange(t *testing.T) {
	type want struct {
		First, Last, Size int64
		OK                bool
	}
	cases := map[string]struct {
		reason string
		value  string
		want   want
	}{
		"Range":       {reason: "As RFC 9110 writes it.", value: "bytes 42-1233/1234", want: want{42, 1233, 1234, true}},
		"OneByte":     {reason: "The first and last may be one.", value: "bytes 0-0/1", want: want{0, 0, 1, true}},
		"UnknownSize": {reason: "The size may not be known.", value: "bytes 42-1233/*", want: want{42, 1233, -1, true}},
		"Unit":        {reason: "A unit has no case.", value: "Bytes 0-1/2", want: want{0, 1, 2, true}},
		"Largest":     {reason: "There is no larger file.", value: "bytes 0-9223372036854775806/9223372036854775807", want: want{0, 1<<63 - 2, 1<<63 - 1, true}},
		"Empty":       {reason: "Nothing says nothing."},
		"Unsatisfied": {reason: "No range is none.", value: "bytes */1234"},
		"OtherUnit":   {reason: "Other units are not bytes.", value: "lines 0-1/2"},
		"Backwards":   {reason: "An end is not before the start.", value: "bytes 5-4/10"},
		"Beyond":      {reason: "Nothing lies after the end.", value: "bytes 0-10/10"},
		"Negative":    {reason: "There is nothing before the start.", value: "bytes -1-5/10"},
		"Signed":      {reason: "A number is made of digits.", value: "bytes +1-5/10"},
		"Overflow":    {reason: "A number has an end.", value: "bytes 0-9223372036854775808/*"},
		"NoSize":      {reason: "The size is not left out.", value: "bytes 0-1"},
		"NoPlaces":    {reason: "Neither are the places.", value: "bytes /1"},
		"Equals":      {reason: "It is no Range.", value: "bytes=0-1/2"},
		"Two":         {reason: "One range is enough.", value: "bytes 0-1,3-4/9"},
		"Trailing":    {reason: "Nothing follows.", value: "bytes 0-1/2/3"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			got.First, got.Last, got.Size, got.OK = contentRange(tc.value)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\ncontentRange(%q): -want, +got:\n%s", tc.reason, tc.value, diff)
			}
		})
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 42-1233/1234")
	f.Add("bytes 0-0/*")
	f.Add("bytes */1234")
	f.Add("BYTES 18446744073709551615-1/0")
	f.Add("bytes --1/-1")
	f.Fuzz(func(t *testing.T, value string) {
		first, last, size, ok := contentRange(value)
		if !ok {
			if first != 0 || last != 0 || size != 0 {
				t.Errorf("contentRange(%q) = %d, %d, %d, though it makes no sense", value, first, last, size)
			}
			return
		}
		if first < 0 || last < first || size != -1 && size <= last {
			t.Errorf("contentRange(%q) = %d, %d, %d", value, first, last, size)
		}
		again := fmt.Sprintf("bytes %d-%d/%d", first, last, size)
		if size < 0 {
			again = fmt.Sprintf("bytes %d-%d/*", first, last)
		}
		if f, l, s, ok := contentRange(again); !ok || f != first || l != last || s != size {
			t.Errorf("contentRange(%q) is not contentRange(%q)", again, value)
		}
	})
}
