package modelpack

import "io"

// Rebuild returns the bytes of a layer that is an archive of these files, in their order,
// if an archive of this package or of kit may have them: the bytes beside the files'
// content are generated. It reports whether that is so. They are the layer's only if they
// have its digest. It calls open as LayerPlan.Open does.
func (l Layer) Rebuild(files []File, open OpenFunc) (io.ReadCloser, bool) {
	if l.Encoding != Tar || l.folder != "" || len(files) == 0 {
		return nil, false
	}
	style := kitStyle
	switch {
	case l.image:
		style = imageStyle
	case l.kitType == "" && len(files) == 1 && files[0].Size == 0:
		style = emptyStyle
	}
	p, err := planTar(style, l.MediaType, files...)
	if err != nil || p.Size != l.Size {
		return nil, false
	}
	return p.Open(0, open), true
}
