package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// hubURL is where kit imports from; no flag and no variable moves it.
const hubURL = "https://huggingface.co"

type importOptions struct {
	home, model, ref, token, tag, kitfile, tool string
	concurrency                                 int
}

func runImport(ctx context.Context, o importOptions) error {
	if o.tool != "hf" {
		return fmt.Errorf("invalid value for --tool flag. Valid options are: hf")
	}
	if strings.Count(o.model, "/") != 1 {
		return fmt.Errorf("could not process URL %s: could not extract organization and repository from '%s'", o.model, o.model)
	}
	if o.tag == "" {
		o.tag = strings.ToLower(o.model) + ":latest"
	}
	cache := filepath.Join(o.home, "cache", "import")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cache, "kitops_import_")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // kit leaves it at a warning too.

	hub := &hubClient{model: o.model, ref: o.ref, token: o.token}
	files, err := hub.list(ctx, ".")
	if err != nil {
		return fmt.Errorf("failed to list files from HuggingFace API: %w", err)
	}
	k, err := kitfileFor(o, files)
	if err != nil {
		return err
	}
	if err := hub.downloadAll(ctx, wanted(k, files), dir, o.concurrency); err != nil {
		return fmt.Errorf("error downloading repository: %w", err)
	}
	fmt.Printf("Packing model to %s\n", o.tag)
	if err := packDirectory(ctx, o.home, dir, k, o.tag, packOptions{layerFormat: formatTar}); err != nil {
		return fmt.Errorf("failed to pack ModelKit: %w", err)
	}
	fmt.Printf("Model is packed as %s\n", o.tag)
	return os.RemoveAll(cache)
}

func kitfileFor(o importOptions, files []string) (*kitfile, error) {
	if o.kitfile != "" {
		return readKitfile(o.kitfile)
	}
	return generateKitfile(o.model, files), nil
}

// wanted are the files that some layer of the Kitfile takes.
func wanted(k *kitfile, files []string) []string {
	paths := k.paths()
	if slices.Contains(paths, ".") {
		return files
	}
	var out []string
	for _, f := range files {
		if slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(f, p) }) {
			out = append(out, f)
		}
	}
	return out
}

type hubClient struct{ model, ref, token string }

// list reads a folder's files and those of the folders in it: one request a
// folder, and of each answer the first page alone, as kit does.
func (h *hubClient) list(ctx context.Context, dir string) ([]string, error) {
	u, err := url.Parse(fmt.Sprintf("%s/api/models/%s/tree/%s", hubURL, h.model, h.ref))
	if err != nil {
		return nil, err
	}
	u.Path = path.Join(u.Path, dir)
	resp, err := h.get(ctx, u.String(), 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("error calling API: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var answer struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return nil, fmt.Errorf("failed to parse API error response: %w", err)
		}
		return nil, fmt.Errorf("got error code %d from API: %s", resp.StatusCode, answer.Error)
	}
	var entries []struct{ Type, Path string }
	if err := json.NewDecoder(resp.Body).Decode(&entries); err != nil {
		return nil, fmt.Errorf("failed to parse API response: %w", err)
	}
	var files []string
	for _, e := range entries {
		switch name := path.Base(e.Path); {
		case e.Type == "directory":
			more, err := h.list(ctx, e.Path)
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
		case name != ".gitattributes" && name != ".gitignore":
			files = append(files, e.Path)
		}
	}
	return files, nil
}

func (h *hubClient) downloadAll(ctx context.Context, files []string, dir string, concurrency int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrency)
	for _, f := range files {
		g.Go(func() error {
			fmt.Printf("Downloading file %s\n", f)
			return h.download(ctx, f, filepath.Join(dir, filepath.FromSlash(f)))
		})
	}
	return g.Wait()
}

func (h *hubClient) download(ctx context.Context, file, to string) error {
	source := fmt.Sprintf("%s/%s/resolve/%s/%s", hubURL, h.model, h.ref, file)
	resp, err := h.get(ctx, source, time.Hour)
	if err != nil {
		return fmt.Errorf("error calling API: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("received status code %d when downloading file %s from %s", resp.StatusCode, file, source)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("failed to create file: %w", err)
	}
	defer f.Close()
	n, err := io.Copy(f, resp.Body)
	if err != nil {
		return fmt.Errorf("failed to write file: %w", err)
	}
	if resp.ContentLength > 0 && n != resp.ContentLength {
		return fmt.Errorf("mismatched file size: expected %d but got %d", resp.ContentLength, n)
	}
	return nil
}

func (h *hubClient) get(ctx context.Context, u string, timeout time.Duration) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	return (&http.Client{Timeout: timeout}).Do(req)
}
