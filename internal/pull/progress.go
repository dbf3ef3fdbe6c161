package pull

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// A Progress is how far a pull is.
type Progress struct {
	// Done is how many of the Total bytes of the artifact's layers were fetched or were
	// present.
	Done, Total int64

	// Layers are those that are being fetched, in the order in which that began.
	Layers []LayerProgress
}

// A LayerProgress is how far a layer is.
type LayerProgress struct {
	// Name of the layer's file, or its digest if it has several.
	Name string

	// Done of the Size bytes of the layer.
	Done, Size int64
}

// layerProgressInterval is the interval at which Options.Progress is called, which is for
// people who watch.
const layerProgressInterval = 250 * time.Millisecond

// A meter counts the bytes of layers. It is safe for concurrent use.
type meter struct {
	done  atomic.Int64
	total int64

	mu     sync.Mutex
	layers []*activeLayer
}

// An activeLayer is a layer that is being fetched.
type activeLayer struct {
	modelpack.Layer

	done atomic.Int64
}

// begin counts the bytes of a layer until the function that it returns is called.
func (m *meter) begin(l modelpack.Layer) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &activeLayer{Layer: l}
	m.layers = append(m.layers, a)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, other := range m.layers {
			if other == a {
				m.layers = append(m.layers[:i:i], m.layers[i+1:]...)
				return
			}
		}
	}
}

// add counts bytes of a layer. A negative number is of bytes that are fetched again.
func (m *meter) add(l modelpack.Layer, n int64) {
	m.done.Add(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.layers {
		if a.Key() == l.Key() && a.Path == l.Path {
			a.done.Add(n)
			return
		}
	}
}

// progress returns how far the pull is.
func (m *meter) progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := Progress{Done: m.done.Load(), Total: m.total}
	for _, a := range m.layers {
		name := a.Path
		if a.Encoding != modelpack.Raw {
			name = a.Digest.String()
		}
		p.Layers = append(p.Layers, LayerProgress{Name: name, Done: a.done.Load(), Size: a.Size})
	}
	return p
}
