package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A count is what the headers of weights say together about parameters.
type count struct {
	parameters int64
	known      bool   // Whether parameters is right.
	precision  string // Of most bytes; empty if those are packed.
	rest       string // Of most bytes that are not packed.
}

// maxUnknown is the reciprocal of the share of a model's bytes that may be integers of
// unknown meaning, such as positions.
const maxUnknown = 16

// countTensors counts the parameters in tensors with a quantization. It counts a
// tensor that is in several files once. The count is not known if weights are packed
// in an unknown way, since it would be only a fraction of the parameters.
func countTensors(tensors []tensor, q quantization) count {
	slices.SortFunc(tensors, func(a, b tensor) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.elements, a.elements), cmp.Compare(b.dtype.bits, a.dtype.bits))
	})
	var c count
	var total, unknown int64
	bytes := map[string]int64{}
	for i, t := range tensors {
		if i > 0 && t.name == tensors[i-1].name {
			continue
		}
		size := bytesOf(t)
		total += size
		values, ok := q.values(t)
		switch {
		case !ok:
			unknown += size
		case values > 0:
			c.parameters += values
			precision := t.dtype.precision
			if values != t.elements {
				precision = ""
			}
			bytes[precision] += size
		}
		if total > maxElements || c.parameters > maxElements {
			return count{}
		}
	}
	c.known = c.parameters > 0 && unknown <= total/maxUnknown
	if c.known {
		c.precision = largest(bytes)
		delete(bytes, "")
		c.rest = largest(bytes)
	}
	return c
}

// largest returns the key of the largest number; of equal ones, the first key.
func largest(numbers map[string]int64) string {
	best, most := "", int64(0)
	for key, n := range numbers {
		if n > most || (n == most && key < best) {
			best, most = key, n
		}
	}
	return best
}

// A quantization describes how weights are packed.
type quantization struct {
	method string // Empty if they are not quantized.
	bits   int64  // Bits per value; 0 if not known.
	packed bool   // Whether each integer holds several values.
	expert int64  // Bits per value in an expert's integers, if all others are FP8.
}

// values returns the number of parameters in a tensor, which is 0 if it belongs to the
// quantization itself. It reports whether that is known.
func (q quantization) values(t tensor) (int64, bool) {
	switch {
	case t.dtype == scales, q.method != "" && t.role == roleAux:
		return 0, true
	case t.role == roleScales && (q.method == "gptq" || q.method == "awq"):
		return 0, true
	case t.role == roleScales && q.method == "mxfp4" && t.dtype.integer:
		return 0, true
	case !t.dtype.integer:
		return t.elements, true
	}
	return q.integers(t)
}

// integers returns the number of parameters in a tensor of integers.
func (q quantization) integers(t tensor) (int64, bool) {
	width := q.bits
	switch {
	case q.method == "mxfp4":
		if t.role != roleBlocks {
			return 0, false
		}
		width = 4
	case q.method == "gptq", q.method == "awq":
		if t.role != rolePacked {
			return 0, false
		}
	case q.expert > 0:
		if t.role != roleExpert {
			return 0, false
		}
		width = q.expert
	case !q.packed && t.dtype == signedByte && (q.method == "bitsandbytes" || q.method == "compressed-tensors"):
		return t.elements, true // One value per byte.
	case !q.packed:
		return 0, false
	}
	if width <= 0 || width > t.dtype.bits || t.elements > maxElements/t.dtype.bits {
		return 0, false
	}
	return t.elements * t.dtype.bits / width, true
}

// quantizationOf returns the quantization of a config.
func quantizationOf(c *quantConfig, expertDType string) quantization {
	if c == nil {
		return quantization{}
	}
	q := quantization{method: cmp.Or(plainWord(strings.ToLower(c.Method)), plainWord(strings.ToLower(c.Algorithm))), bits: c.Bits}
	if q.method == "" && (c.LoadIn4Bit || c.LoadIn8Bit) {
		q.method = "bitsandbytes"
	}
	switch q.method {
	case "bitsandbytes":
		q.packed, q.bits = c.LoadIn4Bit, 4
	case "compressed-tensors":
		q.packed, q.bits = c.compressed()
	case "fp8":
		q.expert = bitsOf(expertDType)
	case "modelopt", "nvfp4":
		if strings.Contains(strings.ToLower(c.Algorithm), "nvfp4") {
			q.packed, q.bits = true, 4
		}
	}
	return q
}

// compressed reports whether compressed-tensors packs values into integers, and
// returns the bits per value; 0 if they differ.
func (c *quantConfig) compressed() (bool, int64) {
	format, width := c.Format, int64(-1)
	for _, g := range c.Groups {
		format = max(format, g.Format) // Any one; those of a model are the same.
		if bits := g.Weights.Bits; width >= 0 && bits != width {
			width = 0
		} else {
			width = bits
		}
	}
	if width < 0 {
		width = bitsOf(format)
	}
	return strings.HasSuffix(strings.ToLower(format), "pack-quantized"), width
}

// bitsOf returns the bits per value of a format of less than a byte; 0 for any other.
func bitsOf(format string) int64 {
	format = strings.ToLower(format)
	for _, four := range []string{"fp4", "int4", "nf4"} {
		if strings.Contains(format, four) {
			return 4
		}
	}
	return 0
}

// paramSize returns a number of parameters in the form of ModelPack, for example 8b or
// 7.2b; empty for numbers below 50
// (https://github.com/modelpack/model-spec/blob/v0.0.7/docs/config.md).
func paramSize(n int64) string {
	const prefixes = "kmbtq"
	if n <= 0 {
		return ""
	}
	unit := int64(1000)
	for i := range prefixes {
		tenths := (n + unit/20) / (unit / 10)
		if tenths >= 10_000 && i < len(prefixes)-1 {
			unit *= 1000
			continue
		}
		if tenths == 0 {
			return ""
		}
		if tenths%10 == 0 {
			return fmt.Sprintf("%d%c", tenths/10, prefixes[i])
		}
		return fmt.Sprintf("%d.%d%c", tenths/10, tenths%10, prefixes[i])
	}
	return ""
}
