// Command build makes the project's images, and the provider's Crossplane
// package, without a container engine. See package images.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	app := kingpin.New("build", "Make the project's images, and the provider's package, without a container engine.")
	commands := map[string]func(context.Context) error{}
	addImage(app, commands, "provider", "The image of the provider, as a tarball.", images.Provider)
	addImage(app, commands, "kitstub", "The image of the stand-in for kit, as a tarball.", images.KitStub)
	addXpkg(app, commands)
	command := kingpin.MustParse(app.Parse(os.Args[1:]))

	err := commands[command](ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// addImage adds the command that writes an image.
func addImage(app *kingpin.Application, commands map[string]func(context.Context) error, kind, help string, options func(string) images.Options) {
	cmd := app.Command(kind, help)
	reference := cmd.Flag("name", "The image's name and tag.").Required().String()
	output := cmd.Flag("output", "The tarball to write.").Short('o').Required().String()
	arch := cmd.Flag("arch", "The architecture, as Go names it; by default this machine's.").String()
	ldflags := cmd.Flag("ldflags", "Further flags for the linker.").String()
	commands[cmd.FullCommand()] = func(ctx context.Context) error {
		o := options(*reference)
		o.Arch, o.LDFlags = *arch, *ldflags
		return images.Build(ctx, *output, o)
	}
}

// addXpkg adds the command that writes the package, and pushes it where it is
// told to.
func addXpkg(app *kingpin.Application, commands map[string]func(context.Context) error) {
	cmd := app.Command("xpkg", "The provider's package: an .xpkg file for each architecture.")
	o := images.XpkgOptions{}
	cmd.Flag("version", "The package's version, which the provider calls its own.").Default(version.Version).StringVar(&o.Version)
	cmd.Flag("arch", "An architecture, as Go names it; more by more such flags.").Default("amd64", "arm64").StringsVar(&o.Archs)
	output := cmd.Flag("output", "The folder to write to.").Short('o').String()
	registry := cmd.Flag("push", "Push it to this registry, as host[:port]/org, under its version as tag.").String()
	push := images.PushOptions{}
	cmd.Flag("plain-http", "Speak to the registry without TLS.").BoolVar(&push.PlainHTTP)
	commands[cmd.FullCommand()] = func(ctx context.Context) error {
		x, err := images.BuildXpkg(ctx, o)
		if err != nil {
			return err
		}
		return give(ctx, x, *output, *registry, push)
	}
}

// give writes the package to a folder and pushes it to a registry, where they
// are named, and prints what it made.
func give(ctx context.Context, x *images.Xpkg, output, registry string, o images.PushOptions) error {
	digest, err := x.Digest()
	if err != nil {
		return err
	}
	if output != "" {
		files, err := x.Write(output)
		if err != nil {
			return err
		}
		for _, f := range files {
			fmt.Println(f)
		}
		fmt.Println(digest)
	}
	if registry == "" {
		return nil
	}
	reference, err := x.Push(ctx, registry, o)
	if err != nil {
		return err
	}
	fmt.Println(reference)
	return nil
}
