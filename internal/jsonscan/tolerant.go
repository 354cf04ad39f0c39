package jsonscan

import "bytes"

// Finite replaces the bare tokens NaN, Infinity and -Infinity, which Python's json module writes, by
// null and counts them. It returns data itself if there are no such tokens. The result for bytes that are
// not JSON does not matter, because the caller refuses them afterwards.
func Finite(data []byte) ([]byte, int) {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data, 0
	}
	var out []byte
	n, done := 0, 0
	for i := 0; i < len(data); i++ {
		if data[i] == '"' {
			if i = endOfString(data, i); i >= len(data) {
				break
			}
			continue
		}
		for _, token := range [...]string{"-Infinity", "Infinity", "NaN"} {
			if bytes.HasPrefix(data[i:], []byte(token)) {
				out = append(append(out, data[done:i]...), "null"...)
				n, done = n+1, i+len(token)
				i = done - 1
				break
			}
		}
	}
	if n == 0 {
		return data, 0
	}
	return append(out, data[done:]...), n
}

// Deeper tells whether arrays and objects nest deeper than limit. data may not be JSON.
func Deeper(data []byte, limit int) bool {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) <= limit {
		return false // the usual case, found without looking at each byte
	}
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = endOfString(data, i)
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// endOfString is skipString for bytes that may not be JSON: it returns the index of the closing
// quote, or len(b).
func endOfString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return min(i, len(b))
}
