package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

type countingWriter struct {
	file io.Writer
	hash hash.Hash
	n    int64
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.file.Write(b)
	w.hash.Write(b[:n])
	w.n += int64(n)
	return n, err
}

// writeRaw writes one file as it is, and notes its metadata. A raw layer
// holds no folder.
func (p *packer) writeRaw(w io.Writer, path string, annotations map[string]string) error {
	f, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(path)))
	if err != nil {
		return fmt.Errorf("failed to read file %s: %w", path, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("file %s is not a regular file", path)
	}
	meta, err := json.Marshal(modelspec.FileMetadata{
		Name: fi.Name(), Mode: uint32(fi.Mode().Perm()), Size: fi.Size(), ModTime: fi.ModTime(),
	})
	if err != nil {
		return err
	}
	annotations[modelspec.AnnotationFileMetadata] = string(meta)
	_, err = io.Copy(w, f)
	return err
}

// writeTar writes a file, or what a folder holds and no other layer takes,
// with the folders that it lies in.
func (p *packer) writeTar(w io.Writer, layer string) error {
	if _, err := os.Stat(filepath.Join(p.dir, layer)); err != nil {
		return fmt.Errorf("error processing layer: path %s does not exist", layer)
	}
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(p.dir, path)
		if err != nil || name == "." {
			return err
		}
		if !within(name, layer) && !within(layer, name) || p.ignored(name, layer) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return addToTar(tw, path, name, d)
	})
	return errors.Join(err, tw.Close())
}

// ignored reports whether another layer takes a file. Kit compares names by
// their beginning, so that a layer model.onnx takes model.onnx_data from the
// folder that holds both.
func (p *packer) ignored(name, layer string) bool {
	switch name {
	case "Kitfile", "kitfile", ".kitfile", ".kitignore":
		return true
	}
	for _, other := range p.paths {
		if !strings.HasPrefix(layer, other) && strings.HasPrefix(name, other) {
			return true
		}
	}
	return false
}

func within(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+string(filepath.Separator))
}

// addToTar adds a file or folder with a header that says nothing of this
// machine, so that the same files make the same layer.
func addToTar(tw *tar.Writer, path, name string, d fs.DirEntry) error {
	fi, err := d.Info()
	if err != nil || !fi.Mode().IsRegular() && !fi.IsDir() {
		return err
	}
	h, err := tar.FileInfoHeader(fi, "")
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = filepath.ToSlash(name), 1000, 0, "", ""
	h.ModTime, h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}, time.Time{}
	if err := tw.WriteHeader(h); err != nil || fi.IsDir() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}

// runUnpack unpacks what is stored under a reference, Kitfile and all.
func runUnpack(ctx context.Context, home, reference, dir string, overwrite bool) error {
	ref, err := parseReference(reference)
	if err != nil {
		return err
	}
	s, err := openStore(home, ref)
	if err != nil {
		return err
	}
	d, err := s.Resolve(ctx, ref.Reference)
	if err != nil {
		return fmt.Errorf("failed to find reference %s: %w", reference, err)
	}
	b, err := content.FetchAll(ctx, s, d)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	config := []byte(m.Annotations[annotationKitfile])
	if m.Config.MediaType == typeKitConfig {
		if config, err = content.FetchAll(ctx, s, m.Config); err != nil {
			return err
		}
	}
	k := &kitfile{}
	if err := json.Unmarshal(config, k); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fmt.Printf("Unpacking to %s\n", dir)
	if err := k.write(dir); err != nil {
		return err
	}
	for _, layer := range m.Layers {
		if err := unpackLayer(ctx, s, layer, dir, overwrite); err != nil {
			return fmt.Errorf("failed to unpack: %w", err)
		}
	}
	return nil
}

func unpackLayer(ctx context.Context, s *store, layer ocispec.Descriptor, dir string, overwrite bool) error {
	rc, err := s.Fetch(ctx, layer)
	if err != nil {
		return err
	}
	defer rc.Close()
	if strings.HasSuffix(layer.MediaType, "."+formatRaw) {
		return unpackFile(rc, dir, layer.Annotations[modelspec.AnnotationFilepath], overwrite)
	}
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := unpackFile(tr, dir, h.Name, overwrite); err != nil {
			return err
		}
	}
}

func unpackFile(r io.Reader, dir, name string, overwrite bool) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("illegal file path: %s", name)
	}
	to := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if overwrite {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(to, flags, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
