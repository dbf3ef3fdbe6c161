package connection

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrimmed(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"None":    {reason: "A value alone stays.", args: "hf_in", want: "hf_in"},
		"Empty":   {reason: "White space alone is no value.", args: " \r\n", want: ""},
		"Newline": {reason: "As echo writes it.", args: "hf_in\n", want: "hf_in"},
		"CRLF":    {reason: "As on Windows.", args: "hf_in\r\n", want: "hf_in"},
		"Around":  {reason: "As it is pasted.", args: "\t hf_in ", want: "hf_in"},
		"BOM":     {reason: "As some editors write it.", args: "\uFEFFhf_in\r\n", want: "hf_in"},
		"Inside":  {reason: "White space inside belongs to it.", args: "correct horse\n", want: "correct horse"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Trimmed(tc.args)); diff != "" {
				t.Errorf("\n%s\nTrimmed(%q): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}

func TestPEM(t *testing.T) {
	block := pemOf(secureServer(t))
	indented := "  " + strings.ReplaceAll(string(block), "\n", "\n  ")
	cases := map[string]struct {
		reason string
		args   string
		want   int // Blocks.
	}{
		"Plain":    {reason: "As tools write it.", args: string(block), want: 1},
		"NoEnd":    {reason: "Without a newline at its end.", args: strings.TrimSpace(string(block)), want: 1},
		"CRLF":     {reason: "As on Windows.", args: strings.ReplaceAll(string(block), "\n", "\r\n"), want: 1},
		"BOM":      {reason: "As some editors write it.", args: "\uFEFF" + string(block), want: 1},
		"Indented": {reason: "As YAML leaves it.", args: indented + indented, want: 2},
		"Nothing":  {reason: "What is none stays none.", args: "none\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := 0
			for b, rest := pem.Decode(PEM([]byte(tc.args))); b != nil; b, rest = pem.Decode(rest) {
				got++
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nPEM(...): blocks: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	if pool, err := Roots([]byte(indented), ""); err != nil || pool == nil {
		t.Errorf("Roots(...): want an indented certificate to be read, got %v", err)
	}
}

func FuzzPEM(f *testing.F) {
	f.Add([]byte("\uFEFF  -----BEGIN CERTIFICATE-----\r\n  AAAA\n-----END CERTIFICATE-----"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		once := PEM(b)
		if len(once) > len(b) {
			t.Errorf("PEM(%q) is longer: %q", b, once)
		}
		if bytes.HasPrefix(b, []byte("-----BEGIN")) && !bytes.HasPrefix(once, []byte("-----BEGIN")) {
			t.Errorf("PEM(%q) lost its beginning: %q", b, once)
		}
	})
}
