// Command demo shows the main job: Artifacts become OCI artifacts in a registry,
// on a cluster, by the provider running there as a Pod. See `make help`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/platform"
)

func main() {
	app := kingpin.New("demo", "Make two Artifacts on a cluster and pull them back.")
	kind := app.Flag("cluster", "local, or existing for the cluster of the current context.").Envar("CLUSTER").Default("local").Enum("local", "existing")
	confirm := app.Flag("confirm", "Name of the context, for an existing cluster that is not kind, k3d or minikube.").Envar("CONFIRM").String()
	model := app.Flag("model", "Model to use from huggingface.co, with an existing cluster: organisation/name.").Envar("MODEL").String()
	image := app.Flag("image", "The provider's image, for an existing cluster that pulls it from a registry.").Envar("IMAGE").String()
	kingpin.MustParse(app.Parse(os.Args[1:]))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run := onLocal
	if *kind == "existing" {
		run = func(ctx context.Context) error {
			return onExisting(ctx, platform.ExistingOptions{Confirm: *confirm, Image: *image, Log: os.Stdout}, *model)
		}
	}
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// onLocal runs the demo on the local cluster, with a speech model on its Hub.
func onLocal(ctx context.Context) error {
	start := time.Now()
	cache, err := os.UserCacheDir()
	if err != nil {
		return errors.Wrap(err, "cannot find the user's cache directory")
	}
	local, err := platform.NewLocal(ctx, filepath.Join(cache, "provider-kitops", "demo"), os.Stdout)
	if err != nil {
		return err
	}
	defer func() {
		if err := local.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "demo: cannot take the cluster down:", err)
		}
	}()
	fmt.Printf("The provider is ready after %s.\n\n", time.Since(start).Round(time.Second))
	s := &show{Platform: local.Platform, model: "demo/silero-vad"}
	if s.want, err = s.publishSpeech(ctx, local.Cluster.HubDir()); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, local.Describe(ctx))
		return err
	}
	if err := kubectl(ctx, local, "get", "artifacts", "--namespace="+namespace); err != nil {
		return err
	}
	fmt.Printf("\nAll of it took %s. The cluster is taken down again.\n", time.Since(start).Round(time.Second))
	return nil
}

// kubectl shows what a user of the cluster sees.
func kubectl(ctx context.Context, local *platform.Local, args ...string) error {
	fmt.Println("$ kubectl", strings.Join(args, " "))
	cmd := local.Cluster.Kubectl(ctx, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return errors.Wrap(cmd.Run(), "cannot run kubectl")
}

// onExisting runs the demo on a cluster that is there, with a model from
// huggingface.co.
func onExisting(ctx context.Context, o platform.ExistingOptions, model string) error {
	if model == "" {
		return errors.New("with CLUSTER=existing the model comes from huggingface.co: write MODEL=organisation/name")
	}
	p, err := platform.NewExisting(ctx, o)
	if err != nil {
		return err
	}
	s := &show{Platform: p, model: model}
	if err := s.run(ctx); err != nil {
		return err
	}
	fmt.Println("The cluster keeps the provider; take all of it away, the Artifacts first, with\n" +
		"  kubectl --namespace=provider-kitops-demo delete artifacts --all\n" +
		"  kubectl delete clusterproviderconfig provider-kitops-demo\n" +
		"  kubectl delete namespace provider-kitops-demo\n" +
		"  kubectl delete -f examples/install/without-crossplane.yaml -f package/crds")
	return nil
}
