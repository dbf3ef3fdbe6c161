package inspect

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"io"
	"math/bits"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// Limits of reading a safetensors file (https://huggingface.co/docs/safetensors): the
// longest header that the format allows, the part of it that is in memory at once, and
// the number of tensors, which is twice that of the largest models.
const (
	safetensorsHead      = 256 << 10
	maxSafetensorsHeader = 100_000_000
	maxSafetensorsValue  = 4 << 20
	maxTensors           = 1 << 20
)

// A tensor is a tensor in a safetensors file.
type tensor struct {
	name     uint64 // A hash of the name.
	elements int64
	dtype    *dtype
	role     role
}

// A dtype is the type of a tensor's elements.
type dtype struct {
	bits      int64
	precision string // In ModelPack's terms; empty if elements are not single parameters.
	integer   bool
}

// dtypes of safetensors
// (https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs),
// with ModelPack's names of precisions. Elements of F8_E8M0 are only exponents,
// which scale others.
var dtypes = map[string]*dtype{
	"F64": {64, "float64", false}, "F32": {32, "float32", false}, "F16": {16, "float16", false}, "BF16": {16, "bfloat16", false},
	"F8_E4M3": {8, "float8_e4m3", false}, "F8_E5M2": {8, "float8_e5m2", false},
	"F8_E4M3FNUZ": {8, "float8_e4m3", false}, "F8_E5M2FNUZ": {8, "float8_e5m2", false},
	"F8_E8M0": scales, "F6_E2M3": {6, "", false}, "F6_E3M2": {6, "", false}, "F4": {4, "", false}, "C64": {64, "complex64", false},
	"I64": {64, "", true}, "U64": {64, "", true}, "I32": {32, "", true}, "U32": {32, "", true}, "I16": {16, "", true}, "U16": {16, "", true},
	"I8": signedByte, "U8": {8, "", true}, "BOOL": {8, "", true},
}

var (
	scales     = &dtype{8, "", false}
	signedByte = &dtype{8, "int8", true}
)

// readSafetensors reads a safetensors file's header, and returns its tensors as
// []tensor.
func readSafetensors(r io.Reader, f modelpack.File) (any, bool) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, false
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > maxSafetensorsHeader {
		return nil, false
	}
	header := int64(n)
	tensors, err := readTensors(io.LimitReader(r, header), f.Size-int64(len(size))-header)
	if err != nil {
		return nil, false
	}
	return tensors, true
}

var errMalformed = errors.New("the file is malformed")

// readTensors reads the JSON of a header. The file has that much room for the tensors.
func readTensors(r io.Reader, room int64) ([]tensor, error) {
	if room < 0 {
		return nil, errMalformed
	}
	s := &supply{Reader: r}
	dec := json.NewDecoder(s)
	s.left = maxSafetensorsValue
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errMalformed
	}
	var out []tensor
	for s.refill(); dec.More(); s.refill() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok || len(out) == maxTensors {
			return nil, errMalformed
		}
		s.refill()
		if name == "__metadata__" {
			if err := skipValue(dec, s); err != nil {
				return nil, errMalformed
			}
			continue
		}
		t, err := readTensor(dec, name)
		if err != nil {
			return nil, err
		}
		// A false shape needs more room than the file has.
		if room -= bytesOf(t); room < 0 {
			return nil, errMalformed
		}
		out = append(out, t)
	}
	_, err := dec.Token()
	return out, err
}

func readTensor(dec *json.Decoder, name string) (tensor, error) {
	var v struct {
		DType string   `json:"dtype"`
		Shape []uint64 `json:"shape"`
	}
	if err := dec.Decode(&v); err != nil {
		return tensor{}, errMalformed
	}
	d := dtypes[v.DType]
	elements, ok := product(v.Shape)
	if d == nil || !ok {
		return tensor{}, errMalformed
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return tensor{name: h.Sum64(), elements: elements, dtype: d, role: roleOf(name)}, nil
}

// maxElements bounds the elements of tensors, so that their bits do not overflow.
const maxElements = 1 << 56

// product returns the number of elements of a shape, and reports whether it is within
// maxElements.
func product(shape []uint64) (int64, bool) {
	n := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(n, d)
		if hi > 0 || lo > maxElements {
			return 0, false
		}
		n = lo
	}
	return int64(n), true
}

// bytesOf returns the size of a tensor in bytes.
func bytesOf(t tensor) int64 { return (t.elements*t.dtype.bits + 7) / 8 }

// A supply returns a bounded number of bytes until it is refilled, so that a decoder
// never holds more than one long value.
type supply struct {
	io.Reader

	left int
}

func (s *supply) refill() { s.left = maxSafetensorsValue }

func (s *supply) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, errMalformed
	}
	n, err := s.Reader.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// A role is the purpose of a tensor according to its name.
type role uint8

const (
	roleWeight role = iota
	roleExpert      // A weight of an expert that tokens are routed to.
	rolePacked      // GPTQ's and AWQ's packed weights.
	roleBlocks      // MXFP4's packed weights, as gpt-oss calls them.
	roleScales      // Scales of GPTQ, AWQ and MXFP4; parameters elsewhere.
	roleAux         // Auxiliary data of a quantization.
)

// auxSuffixes are the last parts of the names of auxiliary data: of
// compressed-tensors, FP8 and ModelOpt, and of bitsandbytes.
var auxSuffixes = map[string]bool{
	"weight_scale": true, "weight_scale_inv": true, "weight_scale_2": true, "weight_global_scale": true, "weight_zero_point": true,
	"weight_shape": true, "weight_g_idx": true, "zero_point": true,
	"input_scale": true, "input_global_scale": true, "input_zero_point": true, "k_scale": true, "v_scale": true,
	"qzeros": true, "g_idx": true,
	"absmax": true, "quant_map": true, "nested_absmax": true, "nested_quant_map": true, "SCB": true, "weight_format": true,
}

func roleOf(name string) role {
	suffix := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case auxSuffixes[suffix], strings.HasPrefix(suffix, "bitsandbytes__"):
		return roleAux
	case suffix == "qweight":
		return rolePacked
	case strings.HasSuffix(suffix, "_blocks"):
		return roleBlocks
	case suffix == "scales", strings.HasSuffix(suffix, "_scales"):
		return roleScales
	case strings.Contains(name, ".experts.") && !strings.Contains(name, "shared_experts"):
		return roleExpert
	}
	return roleWeight
}
