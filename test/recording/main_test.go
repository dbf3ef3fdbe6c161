package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m)) }

// images is the folder of the recording.
const images = "../../docs/images"

// shownBy returns what is on a terminal at the end of a recording.
func shownBy(t *testing.T, recording []byte) string {
	t.Helper()
	s := &terminaltest.Screen{}
	lines := bufio.NewScanner(bytes.NewReader(recording))
	lines.Scan() // The header.
	for lines.Scan() {
		var event []any
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || len(event) != 3 {
			t.Fatalf("%q is no event of a recording: %v", lines.Text(), err)
		}
		data, _ := event[2].(string)
		_, _ = s.Write([]byte(data))
	}
	return s.String()
}

// TestRecording checks that the plugin shows today what was recorded.
func TestRecording(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join(images, "plugin.cast"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, err := play(t.Context(), apiserver.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shownBy(t, recorded), shown); diff != "" {
		t.Errorf("Record it again, as main.go says. -recorded, +shown now:\n%s", diff)
	}
}

// tag matches a tag of SVG.
var tag = regexp.MustCompile(`<[^>]*>`)

// TestImage checks that the image shows the recording.
func TestImage(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join(images, "plugin.cast"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(images, "plugin.svg"))
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	text := squeeze(html.UnescapeString(tag.ReplaceAllString(string(image), "")))
	for line := range strings.Lines(shownBy(t, recorded)) {
		// A terminal breaks long lines.
		for _, word := range strings.Fields(line) {
			if len(word) < width/4 && !strings.Contains(text, squeeze(word)) {
				t.Errorf("The image does not show %q: make it of the recording again, as main.go says.", word)
			}
		}
	}
}
