package modelpack

import (
	"runtime"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
)

// TestHostileManifest checks that no reader of a manifest or a config takes more
// memory than a few manifests have, whatever they hold: 4 MiB of empty layers
// are half a gigabyte of descriptors.
func TestHostileManifest(t *testing.T) {
	list := func(before, element, after string) []byte {
		return []byte(before + strings.TrimSuffix(strings.Repeat(element+",", (decode.MaxBytes-1000)/(len(element)+1)), ",") + after)
	}
	const config = `"config":{"mediaType":"application/vnd.cncf.model.config.v1+json"},`
	documents := map[string][]byte{
		"Layers":      list(`{`+config+`"layers":[`, "{}", `]}`),
		"Manifests":   list(`{`+config+`"manifests":[`, "{}", `]}`),
		"Annotations": list(`{`+config+`"annotations":{`, `"":""`, `}}`),
		"Nested":      list(`{`+config+`"layers":[`, "[{}]", `]}`),
	}
	readers := map[string]func(b []byte) error{
		"Describe":     func(b []byte) error { _, err := Describe(b); return err },
		"Blobs":        func(b []byte) error { _, err := Blobs(b); return err },
		"ReadManifest": func(b []byte) error { _, err := ReadLayers(b, nil); return err },
		"Whole":        func(b []byte) error { return Whole(b, nil) },
		"Config": func(b []byte) error {
			_ = Description{Format: FormatModelKit}.Model(b)
			_ = Description{Format: FormatModelPack}.Model(b)
			_ = Description{Format: FormatImage}.Model(b)
			return Whole([]byte(`{"config":{"mediaType":"x"},"layers":[[]]}`), b)
		},
	}
	for of, read := range readers {
		for name, b := range documents {
			t.Run(of+name, func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := read(b)
				runtime.ReadMemStats(&after)
				const most = 32 << 20
				if got := after.TotalAlloc - before.TotalAlloc; got > most || err == nil {
					t.Errorf("want a refusal for %d bytes at most, got %v for %d bytes", most, err, got)
				}
			})
		}
	}
}
