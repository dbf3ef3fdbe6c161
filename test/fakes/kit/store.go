package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
)

// A store is kit's local storage as one repository sees it: blobs in an OCI
// layout that all repositories share, and beside it two files a repository,
// <base64 of its name>-index.json for its manifests and …-tags.json.
type store struct {
	*oci.Store

	root, name string
	manifests  []ocispec.Descriptor
	tags       map[string]ocispec.Descriptor
}

func openStore(home string, ref registry.Reference) (*store, error) {
	root := filepath.Join(home, "storage")
	blobs, err := oci.New(root)
	if err != nil {
		return nil, err
	}
	s := &store{Store: blobs, root: root, name: ref.Registry + "/" + ref.Repository, tags: map[string]ocispec.Descriptor{}}
	var index ocispec.Index
	if err := readJSON(s.file("index"), &index); err != nil {
		return nil, err
	}
	s.manifests = index.Manifests
	return s, readJSON(s.file("tags"), &s.tags)
}

func (s *store) file(kind string) string {
	return filepath.Join(s.root, base64.URLEncoding.EncodeToString([]byte(s.name))+"-"+kind+".json")
}

func (s *store) save() error {
	return errors.Join(
		writeJSON(s.file("index"), ocispec.Index{Manifests: s.manifests}, len(s.manifests)),
		writeJSON(s.file("tags"), s.tags, len(s.tags)),
	)
}

// Resolve resolves a tag or a digest among this repository's manifests; the
// layout's own index knows no tags.
func (s *store) Resolve(_ context.Context, reference string) (ocispec.Descriptor, error) {
	if d, ok := s.tags[reference]; ok {
		return d, nil
	}
	for _, d := range s.manifests {
		if d.Digest.String() == reference {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, errdef.ErrNotFound
}

// tag points a tag of this repository to a manifest.
func (s *store) tag(d ocispec.Descriptor, tag string) error {
	d.Annotations = nil
	known := false
	for _, m := range s.manifests {
		known = known || m.Digest == d.Digest
	}
	if !known {
		s.manifests = append(s.manifests, d)
	}
	s.tags[tag] = d
	return s.save()
}

// remove takes a tag away and, with its last tag, a manifest and those of its
// blobs that nothing else needs.
func (s *store) remove(ctx context.Context, tag string) (ocispec.Descriptor, error) {
	d, ok := s.tags[tag]
	if !ok {
		return d, fmt.Errorf("failed to remove: model %s:%s not found", s.name, tag)
	}
	delete(s.tags, tag)
	for _, other := range s.tags {
		if other.Digest == d.Digest {
			return d, s.save()
		}
	}
	kept := s.manifests[:0]
	for _, m := range s.manifests {
		if m.Digest != d.Digest {
			kept = append(kept, m)
		}
	}
	s.manifests = kept
	return d, errors.Join(s.Delete(ctx, d), s.save())
}

// addFile moves a file into the store, unless its content is there already.
func (s *store) addFile(ctx context.Context, d ocispec.Descriptor, path, kind string) error {
	if ok, err := s.Exists(ctx, d); err != nil || ok {
		fmt.Printf("Already saved %s layer: %s\n", kind, d.Digest)
		return err
	}
	to := filepath.Join(s.root, ocispec.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	fmt.Printf("Saved %s layer: %s\n", kind, d.Digest)
	return nil
}

// addBytes puts a small blob or a manifest into the store.
func (s *store) addBytes(ctx context.Context, mediaType string, b []byte) (ocispec.Descriptor, error) {
	d := content.NewDescriptorFromBytes(mediaType, b)
	err := s.Push(ctx, d, strings.NewReader(string(b)))
	if errors.Is(err, errdef.ErrAlreadyExists) {
		err = nil
	}
	return d, err
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// writeJSON writes v to a file, or removes the file where v holds nothing.
func writeJSON(path string, v any, n int) error {
	if n == 0 {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// parseReference reads a reference by kit's rule: what comes before the first
// slash is a registry only where it has a dot or a colon.
func parseReference(s string) (registry.Reference, error) {
	host, rest, ok := strings.Cut(s, "/")
	if !ok || !strings.ContainsAny(host, ".:") {
		s, rest = "localhost/"+s, s
	}
	if repository, _, _ := strings.Cut(rest, ":"); strings.ToLower(repository) != repository {
		return registry.Reference{}, fmt.Errorf("repository (%s) name must be lowercase", repository)
	}
	ref, err := registry.ParseReference(s)
	if err == nil && ref.Reference == "" {
		ref.Reference = "latest"
	}
	return ref, err
}

func tagCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "tag SOURCE TARGET",
		Args: cobra.ExactArgs(2),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			from, err := parseReference(args[0])
			if err != nil {
				return err
			}
			to, err := parseReference(args[1])
			if err != nil {
				return err
			}
			source, err := openStore(home, from)
			if err != nil {
				return err
			}
			d, err := source.Resolve(cmd.Context(), from.Reference)
			if err != nil {
				return fmt.Errorf("failed to tag modelkit %s: %w", from, err)
			}
			target, err := openStore(home, to)
			if err != nil {
				return err
			}
			fmt.Printf("Modelkit %s tagged as %s\n", from, to)
			return target.tag(d, to.Reference)
		}),
	}
}

func removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "remove REFERENCE",
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			ref, err := parseReference(args[0])
			if err != nil {
				return err
			}
			s, err := openStore(home, ref)
			if err != nil {
				return err
			}
			d, err := s.remove(cmd.Context(), ref.Reference)
			if err == nil {
				fmt.Printf("Removed %s (digest %s)\n", ref, d.Digest)
			}
			return err
		}),
	}
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "list",
		Args: cobra.NoArgs,
		RunE: run(func(_ *cobra.Command, home string, _ []string) error {
			files, err := filepath.Glob(filepath.Join(home, "storage", "*-tags.json"))
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
			fmt.Fprintln(w, "REPOSITORY\tTAG\tDIGEST")
			for _, file := range files {
				name, err := base64.URLEncoding.DecodeString(strings.TrimSuffix(filepath.Base(file), "-tags.json"))
				if err != nil {
					return err
				}
				tags := map[string]ocispec.Descriptor{}
				if err := readJSON(file, &tags); err != nil {
					return err
				}
				for tag, d := range tags {
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, tag, d.Digest)
				}
			}
			return w.Flush()
		}),
	}
}
