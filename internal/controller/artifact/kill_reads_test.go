package artifact

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// answers are what the API server has answered to reads of a life. An answer holds
// until something of its kind is written: no other process writes to the life's
// namespace, and the API server runs no controllers. Most requests of a life would be
// reads, each of which costs the API server as much as a write.
type answers struct {
	scheme *runtime.Scheme

	mu     sync.Mutex
	byKind map[string]map[string]answer
}

// An answer is an object, or that there is none.
type answer struct {
	object runtime.Object
	err    error
}

// remembering returns a client that asks the API server only for what may have changed.
// All writes of the life must be made with it.
func remembering(c client.WithWatch) client.WithWatch {
	a := &answers{scheme: c.Scheme(), byKind: map[string]map[string]answer{}}
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return a.read(o, key.String(), func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			o := (&client.ListOptions{}).ApplyOptions(opts)
			return a.read(l, fmt.Sprint(o.Namespace, o.LabelSelector, o.FieldSelector, o.Limit), func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return a.write(o, func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return a.write(o, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return a.write(o, func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return a.write(o, func() error { return c.Delete(ctx, o, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return a.write(o, func() error { return c.DeleteAllOf(ctx, o, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			clear(a.byKind)
			return c.Apply(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return a.write(o, func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return a.write(o, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

// kind returns the kind of an object or of what a list is of.
func (a *answers) kind(o runtime.Object) (string, error) {
	gvk, err := apiutil.GVKForObject(o, a.scheme)
	return strings.TrimSuffix(gvk.Kind, "List"), err
}

// read fills o with the answer to the same read before, or else by asking.
func (a *answers) read(o runtime.Object, what string, ask func() error) error {
	kind, err := a.kind(o)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	what = fmt.Sprintf("%T %s", o, what)
	known, ok := a.byKind[kind][what]
	if !ok {
		if known.err = ask(); known.err != nil && !kerrors.IsNotFound(known.err) {
			return known.err
		}
		known.object = o.DeepCopyObject()
		if a.byKind[kind] == nil {
			a.byKind[kind] = map[string]answer{}
		}
		a.byKind[kind][what] = known
		return known.err
	}
	if known.err == nil {
		reflect.ValueOf(o).Elem().Set(reflect.ValueOf(known.object.DeepCopyObject()).Elem())
	}
	return known.err
}

// write writes, and forgets all answers about the kind.
func (a *answers) write(o runtime.Object, do func() error) error {
	kind, err := a.kind(o)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = do()
	delete(a.byKind, kind)
	return err
}
