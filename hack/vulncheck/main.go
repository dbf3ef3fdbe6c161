// Command vulncheck looks for known vulnerabilities that the two programs reach,
// and fails on those that an available version fixes. The reports are a Go
// module that go.mod pins, so that it needs no internet but the Go module proxy.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// stdlib is what govulncheck calls the module of Go's own packages
// (https://go.dev/security/vuln/database).
const stdlib = "stdlib"

// vulndb is the module with all reports.
const vulndb = "golang.org/x/vulndb"

// A finding is a known vulnerability in a module that is reached.
type finding struct {
	ID, Module, Version, Fixed string
	// Through names the function that is reached.
	Through string
}

func main() {
	dir := flag.String("dir", "../..", "The module that is looked at.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dir, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

// run checks packages of the module in dir.
func run(ctx context.Context, dir string, packages []string) error {
	db, err := database(ctx)
	if err != nil {
		return err
	}
	out, err := command(ctx, append([]string{"tool", "govulncheck", "-C", dir, "-db", "file://" + db, "-format", "json"}, packages...)...)
	if err != nil {
		return fmt.Errorf("cannot run govulncheck: %w", err)
	}
	found, err := reached(bytes.NewReader(out))
	if err != nil {
		return err
	}
	fixable := 0
	for _, f := range found {
		verdict := "no fixed version is known"
		if f.Fixed != "" {
			verdict = "fixed in " + f.Fixed + ", which is not available here"
			if served(ctx, f) {
				verdict = "fixed in " + f.Fixed + ": raise it in go.mod"
				fixable++
			}
		}
		fmt.Printf("%s %s@%s, reached through %s: %s\n", f.ID, f.Module, f.Version, f.Through, verdict)
	}
	fmt.Printf("vulncheck: %d reached, %d of them fixed by an available version\n", len(found), fixable)
	if fixable > 0 {
		return errors.New("known vulnerabilities are reached that an available version fixes")
	}
	return nil
}

// database returns the folder of the indexed reports. It is made once for each
// version of the reports, in the user's cache directory.
func database(ctx context.Context) (string, error) {
	out, err := command(ctx, "mod", "download", "-json", vulndb)
	if err != nil {
		return "", fmt.Errorf("cannot download the reports: %w", err)
	}
	module := struct{ Dir, Version string }{}
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("cannot read where the reports are: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	db := filepath.Join(cache, "provider-kitops", "vulndb", module.Version)
	if _, err := os.Stat(db); err == nil {
		return db, nil
	}
	if err := os.MkdirAll(filepath.Dir(db), 0o755); err != nil {
		return "", err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(db), "unfinished-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(unfinished) }()
	if _, err := command(ctx, "tool", "indexdb", "-out="+unfinished, "-vulns="+filepath.Join(module.Dir, "data", "osv")); err != nil {
		return "", fmt.Errorf("cannot index the reports: %w", err)
	}
	return db, os.Rename(unfinished, db)
}

// reached returns the findings of govulncheck's output whose code is called,
// sorted, each once.
func reached(r io.Reader) ([]finding, error) {
	var out []finding
	for d := json.NewDecoder(r); ; {
		message := struct {
			Finding *struct {
				OSV   string `json:"osv"`
				Fixed string `json:"fixed_version"`
				Trace []struct{ Module, Version, Package, Function string }
			}
		}{}
		err := d.Decode(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read govulncheck's output: %w", err)
		}
		// A trace without a function says that the module or the package is
		// there, not that its code is called.
		if f := message.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			t := f.Trace[0]
			out = append(out, finding{ID: f.OSV, Module: t.Module, Version: t.Version, Fixed: f.Fixed, Through: t.Package + "." + t.Function})
		}
	}
	slices.SortFunc(out, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.Module, b.Module), strings.Compare(a.ID, b.ID), strings.Compare(a.Through, b.Through))
	})
	return slices.CompactFunc(out, func(a, b finding) bool { return a.ID == b.ID && a.Module == b.Module }), nil
}

// served reports whether the version that fixes a finding can be downloaded.
func served(ctx context.Context, f finding) bool {
	if f.Module == stdlib {
		cmd := exec.CommandContext(ctx, "go", "version")
		cmd.Env = append(os.Environ(), "GOTOOLCHAIN=go"+strings.TrimPrefix(f.Fixed, "v"))
		return cmd.Run() == nil
	}
	_, err := command(ctx, "mod", "download", f.Module+"@"+f.Fixed)
	return err == nil
}

// command returns what go prints.
func command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}
