package connection

import (
	"bytes"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// byteOrderMark begins files that some editors write.
const byteOrderMark = "\uFEFF"

// Trimmed returns a value that a person wrote into a Secret, a file or a
// variable, without the white space around it: what echo, a shell or an editor
// puts at its end is not part of the value.
func Trimmed(value string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(value), byteOrderMark))
}

// InHeader reports whether a value can be sent in a header (RFC 9110, section
// 5.5): it has no line break or other control character.
func InHeader(value string) bool { return httpguts.ValidHeaderFieldValue(value) }

// PEM returns what encoding/pem finds all blocks of: lines without white space
// around them, as YAML that is indented too far leaves behind, and without a
// byte order mark.
func PEM(b []byte) []byte {
	lines := bytes.Split(bytes.TrimPrefix(b, []byte(byteOrderMark)), []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimSpace(lines[i])
	}
	return bytes.Join(lines, []byte("\n"))
}
