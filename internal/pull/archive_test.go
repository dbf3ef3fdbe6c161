package pull

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const kitModel = "application/vnd.kitops.modelkit.model.v1.tar"

// TestHostileArchives checks that nothing of an archive is unpacked that could
// do harm.
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
		"DotDot":       {reason: "It leads out of the folder.", archive: unpacks(reg("../a")), want: outcome.Unsupported, message: "inside of a folder"},
		"DotDotWithin": {reason: "It leads out of it later.", archive: unpacks(reg("a/../../b")), want: outcome.Unsupported, message: "inside of a folder"},
		"Absolute":     {reason: "It is elsewhere.", archive: unpacks(reg("/etc/passwd")), want: outcome.Unsupported, message: "inside of a folder"},
		"NoName":       {reason: "It is the folder itself.", archive: unpacks(reg("./.")), want: outcome.Unsupported, message: "inside of a folder"},
		"Backslash":    {reason: "It is another path on other systems.", archive: unpacks(reg(`..\a`)), want: outcome.Unsupported, message: "cannot be one of a file"},
		"LongName":     {reason: "No file system takes it.", archive: unpacks(reg(long)), want: outcome.Unsupported, message: "cannot be one of a file"},
		"State":        {reason: "It would replace what a pull knows.", archive: unpacks(reg("./.provider-kitops/state.json")), want: outcome.Unsupported, message: stateDir},
		"StateUpper":   {reason: "Some file systems take it for the same.", archive: unpacks(reg(".Provider-KitOps/x")), want: outcome.Unsupported, message: stateDir},
		"Symlink":      {reason: "It points out of the folder.", archive: unpacks(typed(tar.TypeSymlink)), want: outcome.Unsupported, message: "link or a device"},
		"HardLink":     {reason: "The same.", archive: unpacks(typed(tar.TypeLink)), want: outcome.Unsupported, message: "link or a device"},
		"Device":       {reason: "It is no file.", archive: unpacks(typed(tar.TypeChar)), want: outcome.Unsupported, message: "link or a device"},
		"BlockDevice":  {reason: "It is no file.", archive: unpacks(typed(tar.TypeBlock)), want: outcome.Unsupported, message: "link or a device"},
		"Fifo":         {reason: "It is no file.", archive: unpacks(typed(tar.TypeFifo)), want: outcome.Unsupported, message: "link or a device"},
		"Twice":        {reason: "Which one is meant cannot be told.", archive: unpacks(reg("a"), reg("./a")), want: outcome.Unsupported, message: "twice"},
		"FileAndDir":   {reason: "Both cannot be.", archive: unpacks(reg("a"), reg("a/b")), want: outcome.Unsupported, message: "in the way"},
		"NoArchive":    {reason: "It is not what its media type says.", archive: bytes.Repeat([]byte("x"), 2048), want: outcome.Mismatch, message: "no archive"},
		"CutShort":     {reason: "Its end is missing.", archive: unpacks(&tar.Header{Name: "a", Size: 600, Mode: 0o644})[:1024], want: outcome.Mismatch, message: "no archive"},
		"NoGzip":       {reason: "It is not compressed.", archive: unpacks(reg("a")), gzip: true, want: outcome.Mismatch, message: "no archive"},
		"HugeHeader":   {reason: "It announces more than it has.", archive: hugeHeader(t), want: outcome.Mismatch, message: "no archive"},
		"Bomb": {reason: "It unpacks to a thousand times its size.", gzip: true,
			archive: compressed(t, "+gzip", unpacks(&tar.Header{Name: "a", Size: 64 << 20, Mode: 0o644})), want: outcome.Unsupported, message: "far more bytes"},
		"Empty":      {reason: "It holds nothing, and does no harm.", archive: unpacks()},
		"DirsAlone":  {reason: "Folders come with files.", archive: unpacks(&tar.Header{Name: "../a/", Typeflag: tar.TypeDir})},
		"DotSlash":   {reason: "As tar writes it.", archive: unpacks(&tar.Header{Name: "./", Typeflag: tar.TypeDir}, reg("./a"))},
		"AfterEnd":   {reason: "Some pad archives.", archive: append(unpacks(reg("a")), make([]byte, 10240)...)},
		"Executable": {reason: "A script may be run.", archive: unpacks(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o755, Size: 1})},
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

// hugeHeader is an archive of one header that announces a terabyte.
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
		"RawAndTar":   {reason: "It is the same.", layers: append(rawLayers(same), tarLayer(t, kitModel, same))},
		"TarAndTar":   {reason: "It is the same.", layers: []content{tarLayer(t, kitModel, same), tarLayer(t, kitModel+"+gzip", same)}},
		"OtherRaw":    {reason: "Which one is meant cannot be told.", layers: append(rawLayers(same), rawLayers(map[string]string{"a": "other"})...), want: outcome.Unsupported},
		"OtherTar":    {reason: "The same.", layers: append(rawLayers(same), tarLayer(t, kitModel, map[string]string{"a": "other"})), want: outcome.Unsupported},
		"FileAndDir":  {reason: "Both cannot be.", layers: append(rawLayers(same), rawLayers(map[string]string{"a/b": "x"})...), want: outcome.Unsupported},
		"TarUnderRaw": {reason: "Both cannot be.", layers: append(rawLayers(same), tarLayer(t, kitModel, map[string]string{"a/b": "x"})), want: outcome.Unsupported},
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
