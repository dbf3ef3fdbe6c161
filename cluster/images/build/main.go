// Command build makes one of the project's images as a tarball, without a
// container engine. See package images.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/cluster/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	kinds := map[string]func(reference string) images.Options{"provider": images.Provider, "kitstub": images.KitStub}
	app := kingpin.New("build", "Make one of the project's images as a tarball.")
	kind := app.Arg("image", "Which image: provider, or kitstub (the stand-in for kit).").Required().Enum("provider", "kitstub")
	reference := app.Flag("name", "The image's name and tag.").Required().String()
	output := app.Flag("output", "The tarball to write.").Short('o').Required().String()
	arch := app.Flag("arch", "The architecture, as Go names it; by default this machine's.").String()
	ldflags := app.Flag("ldflags", "Further flags for the linker.").String()
	kingpin.MustParse(app.Parse(os.Args[1:]))

	o := kinds[*kind](*reference)
	o.Arch, o.LDFlags = *arch, *ldflags
	err := images.Build(ctx, *output, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}
