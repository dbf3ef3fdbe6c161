package controller

import (
	"reflect"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

const (
	// maxWord is the length, in bytes, up to which a string of a cached object is
	// taken for a word that other objects may have too, and is looked up.
	maxWord = 64

	// maxWords bounds how many words are kept to be shared.
	maxWords = 8192
)

// A compactor makes objects smaller before they are cached. Thousands of Artifacts
// repeat the words of their kinds, conditions and registries, and decoding leaves
// spare capacity in their lists: together a sixth of what they take.
type compactor struct {
	mu    sync.Mutex
	words map[string]string
}

// compact removes an object's managed fields and, of what stays, shares its words with other
// objects and cuts its lists to their length. All else is as it was. It is a TransformFunc: nobody
// else has the object yet.
func (c *compactor) compact(o any) (any, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return o, nil //nolint:nilerr // What has no metadata is cached as it is.
	}
	m.SetManagedFields(nil)
	switch o.(type) {
	case *batchv1.Job, *corev1.Pod, *corev1.PersistentVolumeClaim:
		// They are there for as long as a run, and there are many only where many runs begin.
	default:
		c.walk(reflect.ValueOf(o))
	}
	return o, nil
}

// walk compacts a value and all in it that can be set.
func (c *compactor) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		c.walk(v.Elem())
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				c.walk(field)
			}
		}
	case reflect.String:
		v.SetString(c.word(v.String()))
	case reflect.Slice:
		if v.Len() < v.Cap() {
			exact := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(exact, v)
			v.Set(exact)
		}
		for i := range v.Len() {
			c.walk(v.Index(i))
		}
	case reflect.Map:
		if words, ok := v.Interface().(map[string]string); ok && len(words) > 0 {
			v.Set(reflect.ValueOf(c.pairs(words)))
		}
	default:
	}
}

// pairs returns labels or annotations that share their words with others.
func (c *compactor) pairs(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	for key, value := range in {
		out[c.word(key)] = c.word(value)
	}
	return out
}

// word returns a string equal to s, which others have if it is a word. If there are too
// many words, it begins anew: those that many objects have are soon back.
func (c *compactor) word(s string) string {
	if s == "" || len(s) > maxWord {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.words[s]; ok {
		return known
	}
	if c.words == nil || len(c.words) >= maxWords {
		c.words = map[string]string{}
	}
	c.words[s] = s
	return s
}
