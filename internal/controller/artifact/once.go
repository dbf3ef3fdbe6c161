package artifact

import "sync"

// A once keeps values for keys, each until it is taken. Its zero value is empty.
// It is safe for concurrent use.
type once[K comparable, V any] struct {
	mu     sync.Mutex
	values map[K]V
}

// put keeps the value of a key.
func (o *once[K, V]) put(key K, value V) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.values == nil {
		o.values = map[K]V{}
	}
	o.values[key] = value
}

// take returns the value of a key once.
func (o *once[K, V]) take(key K) (V, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	value, ok := o.values[key]
	delete(o.values, key)
	return value, ok
}
