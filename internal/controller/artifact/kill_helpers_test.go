package artifact

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

var errKilled = errors.New("the provider was killed")

// A fuse counts the points at which a provider can be killed: before each call,
// and after each call that writes, where the write has happened and its answer
// is lost. It blows at one of them. A life's provider makes one call at a time.
type fuse struct {
	// lit reports whether points are counted now.
	lit bool

	// at is the point to blow at, from 1.
	at int

	// reads reports whether points before calls that only read are counted. To a
	// provider that dies they are all the same as the one after the last
	// write, and so is the point before the next write of the same reconcile: all
	// that was written is the same, and all else dies with the provider.
	reads bool

	// wrote reports whether the reconcile has written.
	wrote bool

	// once has the provider live on: the one call fails and no other.
	once bool

	// instead is done at the point, where set, and then all goes on.
	instead func()

	points int
	where  string
	dead   bool
}

func (f *fuse) point(where string, counts bool) error {
	if f.dead {
		return errKilled
	}
	if !f.lit || !counts {
		return nil
	}
	f.points++
	if f.points != f.at {
		return nil
	}
	f.where = where
	if f.instead != nil {
		f.instead()
		return nil
	}
	f.dead = !f.once
	return errKilled
}

func (f *fuse) read(what string, do func() error) error {
	if err := f.point("before "+what, f.reads); err != nil {
		return err
	}
	return do()
}

func (f *fuse) write(what string, do func() error) error {
	dies := !f.once && f.instead == nil
	if err := f.point("before "+what, f.reads || !dies || !f.wrote); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	f.wrote = true
	return f.point("after "+what, true)
}

// writeObject writes a copy of o, and fills o only with an answer that arrives.
func (f *fuse) writeObject(verb string, o client.Object, do func(client.Object) error) error {
	sent, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return errors.Errorf("%T is no object", o)
	}
	if err := f.write(fmt.Sprintf("%s %T", verb, o), func() error { return do(sent) }); err != nil {
		return err
	}
	reflect.ValueOf(o).Elem().Set(reflect.ValueOf(sent).Elem())
	return nil
}

// client returns a client that dies with the fuse. What is to be made is
// checked first.
func (f *fuse) client(c client.WithWatch, check func(context.Context, client.Object) error) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return f.read(fmt.Sprintf("get %T", o), func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return f.read(fmt.Sprintf("list %T", l), func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if asked := (&client.CreateOptions{}).ApplyOptions(opts); len(asked.DryRun) > 0 {
				// It makes nothing.
				return f.read(fmt.Sprintf("dry run of %T", o), func() error { return c.Create(ctx, o, opts...) })
			}
			return f.writeObject("create", o, func(o client.Object) error {
				if err := check(ctx, o); err != nil {
					return err
				}
				return c.Create(ctx, o, opts...)
			})
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return f.writeObject("update", o, func(o client.Object) error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return f.writeObject("patch", o, func(o client.Object) error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return f.writeObject("delete", o, func(o client.Object) error { return c.Delete(ctx, o, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return f.write(fmt.Sprintf("apply %T", o), func() error { return c.Apply(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return f.writeObject("update "+sub+" of", o, func(o client.Object) error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return f.writeObject("patch "+sub+" of", o, func(o client.Object) error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

// registry returns a registry that fails with the fuse: the request at which it
// blows, and all others once the provider is dead.
func (f *fuse) registry(next http.Handler) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answer, call := httptest.NewRecorder(), f.write
		if req.Method == http.MethodGet || req.Method == http.MethodHead {
			call = f.read
		}
		err := call(req.Method+" "+req.URL.Path, func() error {
			next.ServeHTTP(answer, req)
			return nil
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// likeCache lets a client without a cache answer as a cache does: with the kind
// of what it gets, and with what the cache's indexes find, in one namespace.
func likeCache(c client.WithWatch, namespace string) client.WithWatch {
	indexes := map[string]client.IndexerFunc{indexSecrets: settings.SecretsOf, indexConfig: configOf, indexReference: referenceOf}
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := c.Get(ctx, key, o, opts...); err != nil {
				return err
			}
			gvk, err := c.GroupVersionKindFor(o)
			o.GetObjectKind().SetGroupVersionKind(gvk)
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			o := (&client.ListOptions{}).ApplyOptions(opts)
			artifacts, ok := l.(*modelv1alpha1.ArtifactList)
			if !ok || o.FieldSelector == nil {
				return c.List(ctx, l, opts...)
			}
			want := o.FieldSelector.Requirements()[0]
			if err := c.List(ctx, artifacts, client.InNamespace(namespace)); err != nil {
				return err
			}
			all := artifacts.Items
			artifacts.Items = nil
			for i := range all {
				for _, value := range indexes[want.Field](&all[i]) {
					if value == want.Value {
						artifacts.Items = append(artifacts.Items, all[i])
					}
				}
			}
			return nil
		},
	})
}
