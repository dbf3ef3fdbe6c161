package hub

import (
	"strconv"
	"strings"
)

// contentRange reads the header Content-Range of an answer with one range of
// bytes (RFC 9110, section 14.4): the first and the last byte's place, and the
// size of the whole, or -1 where the server does not tell. It reports whether the
// value makes sense.
func contentRange(value string) (first, last, size int64, ok bool) {
	unit, rest, spaced := strings.Cut(strings.TrimSpace(value), " ")
	places, total, slashed := strings.Cut(rest, "/")
	from, to, dashed := strings.Cut(places, "-")
	if !spaced || !slashed || !dashed || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	first, firstOK := place(from)
	last, lastOK := place(to)
	size, sizeOK := place(total)
	if total == "*" {
		size, sizeOK = -1, true
	}
	if !firstOK || !lastOK || !sizeOK || last < first || size >= 0 && last >= size {
		return 0, 0, 0, false
	}
	return first, last, size, true
}

// place reads digits and nothing else.
func place(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
