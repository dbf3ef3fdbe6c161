package main

import (
	"archive/tar"
	"io"
)

// find returns a file of an archive.
func find(archive io.Reader, file string) (io.ReadCloser, error) {
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err != nil {
			return nil, err
		}
		if h.Name == file {
			return io.NopCloser(r), nil
		}
	}
}
