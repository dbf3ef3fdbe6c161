package modelpack

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
)

// TestHostileManifest checks that reading any manifest or config takes no more memory
// than a few manifests: 4 MiB of empty layers would be half a gigabyte of
// descriptors.
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

// TestHostileManifestsAtOnce checks that as many concurrent reconciles as there may
// be can read the largest manifests that are accepted, and others that are refused,
// within the memory that examples/install gives the provider.
func TestHostileManifestsAtOnce(t *testing.T) {
	const (
		readers = 20        // As many reconciles as cmd/provider has at the same time.
		limit   = 512 << 20 // As examples/install has it.
	)
	head := `{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.model.config.v1+json"},`
	fill := func(list, element string, n int) []byte {
		b := head + `"` + list + `":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]`
		return []byte(b + `,"x":"` + strings.Repeat("x", decode.MaxBytes-len(b)-len(`,"x":""}`)) + `"}`)
	}
	documents := [][]byte{
		fill("layers", "{}", 39_000),                       // Read: the most descriptors.
		fill("layers", `{"annotations":{"a":""}}`, 19_000), // Read: the most maps.
		fill("layers", `{"urls":["","","","",""]}`, 19_000),
		fill("manifests", "{}", 39_000),
		fill("layers", "{}", 1_000_000), // Refused.
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	runtime.GC()
	var peak atomic.Uint64
	done := make(chan struct{})
	var sampler, read, all sync.WaitGroup
	read.Add(readers)
	sampler.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.Sys-m.HeapReleased))
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	for i := range readers {
		all.Go(func() {
			b := bytes.Clone(documents[i%len(documents)]) // Each answer is its own.
			d, err := Describe(b)
			if refuse := i%len(documents) == len(documents)-1; (err != nil) != refuse {
				t.Errorf("Describe(document %d): want it refused: %t, got %v", i%len(documents), refuse, err)
			}
			_ = d.Model(b)
			layers, _ := ReadManifest(b, b)
			_, _ = Blobs(b)
			// All results are kept until the last one is read, as during requests.
			read.Done()
			read.Wait()
			runtime.KeepAlive(b)
			runtime.KeepAlive(layers)
		})
	}
	all.Wait()
	close(done)
	sampler.Wait()
	t.Logf("%d MiB at most", peak.Load()>>20)
	if got := peak.Load(); got > limit {
		t.Errorf("want %d bytes at most for %d readers, got %d", limit, readers, got)
	}
}
