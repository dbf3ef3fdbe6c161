package decode

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

func TestJSON(t *testing.T) {
	layer := `{"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":"sha256:` + strings.Repeat("0", 64) +
		`","size":12345678,"annotations":{"org.cncf.model.filepath":"model-00001-of-99999.safetensors"}}`
	list := func(element string, n int) string {
		return `{"layers":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}`
	}
	cases := map[string]struct {
		reason   string
		document string
		tooLarge bool
		layers   int
	}{
		"Small":      {reason: "A usual manifest should be decoded.", document: list(layer, 3), layers: 3},
		"Full":       {reason: "A manifest of the largest size that registries accept should be decoded.", document: list(layer, MaxBytes/(len(layer)+1)-1), layers: MaxBytes/(len(layer)+1) - 1},
		"Strings":    {reason: "Brackets and quotes within a string should not be counted.", document: `{"mediaType":"` + strings.Repeat(`[{\",`, 100_000) + `"}`},
		"Bytes":      {reason: "A document of too many bytes should be refused.", document: strings.Repeat(" ", MaxBytes+1), tooLarge: true},
		"Empty":      {reason: "A document of many empty objects, which take much memory, should be refused.", document: list("{}", 1_300_000), tooLarge: true},
		"Nulls":      {reason: "A document of many nulls, which take much memory, should be refused.", document: list("null", 800_000), tooLarge: true},
		"Members":    {reason: "A document of many members of an object should be refused.", document: `{"annotations":{` + strings.Repeat(`"":"",`, 600_000) + `"":""}}`, tooLarge: true},
		"Deep":       {reason: "A deeply nested document, which takes a decoder's stack, should be refused.", document: strings.Repeat("[", 1_000_000), tooLarge: true},
		"AtTheLimit": {reason: "A document at the limit should be decoded with little memory.", document: list("{}", manifest.Containers-2), layers: manifest.Containers - 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := []byte(tc.document)
			var before, after runtime.MemStats
			var m ocispec.Manifest
			runtime.GC()
			runtime.ReadMemStats(&before)
			err := JSON(b, &m)
			runtime.ReadMemStats(&after)
			if got := errors.Is(err, ErrTooLarge); got != tc.tooLarge || len(m.Layers) != tc.layers {
				t.Errorf("\n%s\nJSON(...): want too large: %t, and %d layers, got %v, %d", tc.reason, tc.tooLarge, tc.layers, err, len(m.Layers))
			}
			const most = 48 << 20
			if got := after.TotalAlloc - before.TotalAlloc; got > most {
				t.Errorf("\n%s\nJSON(...): want %d bytes to be allocated at most, got %d", tc.reason, most, got)
			}
		})
	}
}

// FuzzCheck checks that Check accepts no valid JSON that is nested more deeply
// than the bound, whatever its strings hold, and refuses no small document.
func FuzzCheck(f *testing.F) {
	f.Add(`{"layers":[{},{"a":"\\\"[{,"}]}`)
	f.Add(`["\\",[[]],"\u005c"]`)
	f.Fuzz(func(t *testing.T, s string) {
		var v any
		if json.Unmarshal([]byte(s), &v) != nil || len(s) > 1000 {
			return
		}
		depth, openers := depthOf(v), strings.Count(s, "[")+strings.Count(s, "{")
		if err := Check([]byte(s)); err == nil && depth > maxDepth || err != nil && openers <= maxDepth {
			t.Errorf("Check(%q): %v at depth %d", s, err, depth)
		}
	})
}

func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
