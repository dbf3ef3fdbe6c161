// Package names lets programs outside of Pods find headless Services by their
// names, without a DNS: it keeps a file of the format of /etc/hosts.
package names

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Run keeps the names of a namespace's Services in file until ctx ends. It
// returns when they have been written for the first time, and tells failed
// where they cannot be written later.
func Run(ctx context.Context, c kubernetes.Interface, namespace, file string, failed func(error)) error {
	factory := informers.NewSharedInformerFactoryWithOptions(c, 0, informers.WithNamespace(namespace))
	slicesOf := factory.Discovery().V1().EndpointSlices()
	// All events of one informer come one after the other.
	write := func() {
		list, err := slicesOf.Lister().List(labels.Everything())
		if err == nil {
			err = Write(file, list)
		}
		if err != nil {
			failed(err)
		}
	}
	registration, err := slicesOf.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { write() },
		UpdateFunc: func(any, any) { write() },
		DeleteFunc: func(any) { write() },
	})
	if err != nil {
		return errors.Wrap(err, "cannot watch the Services' addresses")
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.Wrap(ctx.Err(), "cannot wait for the Services' addresses")
	}
	return nil
}

// Write writes the names of the Services to file, which it changes in place: it
// may be mounted elsewhere.
func Write(file string, endpoints []*discoveryv1.EndpointSlice) error {
	lines := []string{}
	for _, s := range endpoints {
		service := s.Labels[discoveryv1.LabelServiceName]
		if service == "" {
			continue
		}
		name := service + "." + s.Namespace
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, address := range e.Addresses {
				lines = append(lines, fmt.Sprintf("%s %s %s.svc %s.svc.cluster.local", address, name, name, name))
			}
		}
	}
	slices.Sort(lines)
	lines = append([]string{"127.0.0.1 localhost"}, lines...)
	return errors.Wrap(os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644), "cannot write the Services' names")
}
