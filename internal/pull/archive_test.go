package pull

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const kitModel = "application/vnd.kitops.modelkit.model.v1.tar"

// TestHostileArchives checks that no harmful entry of an archive is unpacked.
func TestHostileArchives(t *testing.T) {
	reg := func(name string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}
	}
	typed := func(flag byte) *tar.Header { return &tar.Header{Name: "a", Linkname: "/etc/passwd", Typeflag: flag} }
	unpacks := func(headers ...*tar.Header) []byte {
		files := map[string]string{}
		for _, h := range headers {
			if h.Size > 0 {
				files[h.Name] = strings.Repeat("x", int(h.Size))
			}
		}
		return tarOf(t, headers, files)
	}
	long := strings.Repeat("n", 300)
	cases := map[string]struct {
		reason  string
		archive []byte
		gzip    bool
		want    outcome.Reason
		message string
	}{
		"DotDot":       {reason: "A path out of the folder should be refused.", archive: unpacks(reg("../a")), want: outcome.Unsupported, message: "inside of a folder"},
		"DotDotWithin": {reason: "A path that leaves the folder later should be refused.", archive: unpacks(reg("a/../../b")), want: outcome.Unsupported, message: "inside of a folder"},
		"Absolute":     {reason: "An absolute path should be refused.", archive: unpacks(reg("/etc/passwd")), want: outcome.Unsupported, message: "inside of a folder"},
		"NoName":       {reason: "The path of the folder itself should be refused.", archive: unpacks(reg("./.")), want: outcome.Unsupported, message: "inside of a folder"},
		"Backslash":    {reason: "A backslash, which separates folders on other systems, should be refused.", archive: unpacks(reg(`..\a`)), want: outcome.Unsupported, message: "cannot be one of a file"},
		"LongName":     {reason: "A name that is too long for file systems should be refused.", archive: unpacks(reg(long)), want: outcome.Unsupported, message: "cannot be one of a file"},
		"State":        {reason: "A path of the pull's state should be refused.", archive: unpacks(reg("./.provider-kitops/state.json")), want: outcome.Unsupported, message: stateDir},
		"StateUpper":   {reason: "A path that some file systems take for the state's should be refused.", archive: unpacks(reg(".Provider-KitOps/x")), want: outcome.Unsupported, message: stateDir},
		"Symlink":      {reason: "A symbolic link should be refused.", archive: unpacks(typed(tar.TypeSymlink)), want: outcome.Unsupported, message: "link or a device"},
		"HardLink":     {reason: "A hard link should be refused.", archive: unpacks(typed(tar.TypeLink)), want: outcome.Unsupported, message: "link or a device"},
		"Device":       {reason: "A character device should be refused.", archive: unpacks(typed(tar.TypeChar)), want: outcome.Unsupported, message: "link or a device"},
		"BlockDevice":  {reason: "A block device should be refused.", archive: unpacks(typed(tar.TypeBlock)), want: outcome.Unsupported, message: "link or a device"},
		"Fifo":         {reason: "A named pipe should be refused.", archive: unpacks(typed(tar.TypeFifo)), want: outcome.Unsupported, message: "link or a device"},
		"Twice":        {reason: "Two files with the same path should be refused.", archive: unpacks(reg("a"), reg("./a")), want: outcome.Unsupported, message: "twice"},
		"FileAndDir":   {reason: "A file with the path of a folder should be refused.", archive: unpacks(reg("a"), reg("a/b")), want: outcome.Unsupported, message: "in the way"},
		"NoArchive":    {reason: "A layer that is no archive should be called malformed.", archive: bytes.Repeat([]byte("x"), 2048), want: outcome.Mismatch, message: "no archive"},
		"CutShort":     {reason: "A truncated archive should be called malformed.", archive: unpacks(&tar.Header{Name: "a", Size: 600, Mode: 0o644})[:1024], want: outcome.Mismatch, message: "no archive"},
		"NoGzip":       {reason: "A layer that is not compressed as its media type says should be called malformed.", archive: unpacks(reg("a")), gzip: true, want: outcome.Mismatch, message: "no archive"},
		"HugeHeader":   {reason: "An archive that announces more bytes than it has should be called malformed.", archive: hugeHeader(t), want: outcome.Mismatch, message: "no archive"},
		"Bomb": {reason: "An archive that unpacks to a thousand times its size should be refused.", gzip: true,
			archive: compressed(t, "+gzip", unpacks(&tar.Header{Name: "a", Size: 64 << 20, Mode: 0o644})), want: outcome.Unsupported, message: "far more bytes"},
		"Empty":      {reason: "An empty archive should be accepted.", archive: unpacks()},
		"DirsAlone":  {reason: "Folders should not be unpacked, since they are created for files.", archive: unpacks(&tar.Header{Name: "../a/", Typeflag: tar.TypeDir})},
		"DotSlash":   {reason: "Paths as tar writes them should be unpacked.", archive: unpacks(&tar.Header{Name: "./", Typeflag: tar.TypeDir}, reg("./a"))},
		"AfterEnd":   {reason: "Padding after the archive's end should be accepted.", archive: append(unpacks(reg("a")), make([]byte, 10240)...)},
		"Executable": {reason: "An executable file should be unpacked.", archive: unpacks(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o755, Size: 1})},
	}
	f := newFront(t, open, false)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			mediaType := kitModel
			if tc.gzip {
				mediaType += "+gzip"
			}
			good := rawLayers(map[string]string{"good": "good"})
			d := f.push(t, modelPack, append(good, layerOf(mediaType, tc.archive))...)
			dir := t.TempDir()
			p, _ := f.pulling(dir, d)
			p.options.Parallel = 1
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			got := visible(t, dir)
			delete(got, "good")
			if got["a"] == "x" && name != "HardLink" {
				delete(got, "a")
			}
			if len(got) > 0 {
				t.Errorf("\n%s\nunpacked: %v", tc.reason, brief(got))
			}
		})
	}
}

// hugeHeader returns an archive of one header that announces a terabyte.
func hugeHeader(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "a", Size: 1 << 40, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 4096)...)
}

// TestSameFileTwice checks artifacts with a file in more than one layer.
func TestSameFileTwice(t *testing.T) {
	same := map[string]string{"a": "same"}
	cases := map[string]struct {
		reason string
		layers []content
		want   outcome.Reason
	}{
		"RawAndTar":   {reason: "The same file in a raw layer and in an archive should be accepted.", layers: append(rawLayers(same), tarLayer(t, kitModel, same))},
		"TarAndTar":   {reason: "The same file in two archives should be accepted.", layers: []content{tarLayer(t, kitModel, same), tarLayer(t, kitModel+"+gzip", same)}},
		"OtherRaw":    {reason: "Different content for a path in two raw layers should be refused.", layers: append(rawLayers(same), rawLayers(map[string]string{"a": "other"})...), want: outcome.Unsupported},
		"OtherTar":    {reason: "Different content for a path in a raw layer and an archive should be refused.", layers: append(rawLayers(same), tarLayer(t, kitModel, map[string]string{"a": "other"})), want: outcome.Unsupported},
		"FileAndDir":  {reason: "A file with the path of a folder should be refused.", layers: append(rawLayers(same), rawLayers(map[string]string{"a/b": "x"})...), want: outcome.Unsupported},
		"TarUnderRaw": {reason: "A file in an archive below a raw layer's file should be refused.", layers: append(rawLayers(same), tarLayer(t, kitModel, map[string]string{"a/b": "x"})), want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			d := f.push(t, modelPack, tc.layers...)
			dir := t.TempDir()
			p, _ := f.pulling(dir, d)
			p.options.Parallel = 1
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, "")
			if tc.want == "" {
				holdsFiles(t, dir, same)
				checkAgain(t, f, dir, d)
			}
		})
	}
}
