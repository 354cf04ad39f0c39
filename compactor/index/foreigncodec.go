package index

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The library's own decompression is not used for the files of others. What it decodes of LZ4_RAW is lost where a
// page is more than three times its compressed size (the rows were zeros, without an error), and its buffer doubles
// without end over bytes that are not of the codec. Here each page is decompressed to exactly the size that
// its header states, and no more memory is taken than the compressed bytes can fill. Only zstd may take its window more.

// codecs decompresses the pages of one file.
type codecs struct{ zstd *zstd.Decoder }

// maxZstdWindow is the largest window that zstd's own program makes use of without being told to.
const maxZstdWindow = 128 << 20

// maxLZ4Ratio and maxSnappyRatio are above what these formats can reach.
const (
	maxLZ4Ratio    = 255
	maxSnappyRatio = 64
)

// decompress returns the n bytes that a page has. It is called for a codec that checkChunk let through.
func (c *codecs) decompress(codec format.CompressionCodec, src []byte, n int) (out []byte, err error) {
	switch {
	case codec == format.Uncompressed:
		return src, nil
	case n == 0: // of NULLs only, where Spark leaves the compressed bytes out
		return nil, nil
	}
	switch codec {
	case format.Snappy:
		out, err = snappyBlock(src, n)
	case format.Gzip:
		out, err = c.gzip(src, n)
	case format.Brotli:
		out, err = readLimited(brotli.NewReader(bytes.NewReader(src)), n)
	case format.Zstd:
		out, err = c.zstdFrames(src, n)
	case format.Lz4:
		out, err = lz4Any(src, n)
	case format.Lz4Raw:
		out, err = lz4Block(src, n)
	default:
		return nil, unsupported("codec %s", codecName(codec))
	}
	if err == nil && len(out) != n {
		err = fmt.Errorf("%d bytes came out", len(out))
	}
	if err != nil {
		return nil, damaged("%d bytes of %s are not a page of %d bytes: %w", len(src), codecName(codec), n, err)
	}
	return out, nil
}

func codecName(c format.CompressionCodec) string {
	if c < 0 || c > format.Lz4Raw {
		return fmt.Sprintf("codec %d", int32(c))
	}
	return c.String()
}

func snappyBlock(src []byte, n int) ([]byte, error) {
	size, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if size != n || n/maxSnappyRatio > len(src) {
		return nil, fmt.Errorf("they say that they are %d", size)
	}
	return snappy.Decode(nil, src)
}

func (*codecs) gzip(src []byte, n int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	return readLimited(r, n)
}

func (c *codecs) zstdFrames(src []byte, n int) (_ []byte, err error) {
	if c.zstd == nil {
		c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, err
		}
	}
	if err := c.zstd.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readLimited(c.zstd, n)
}

func (c *codecs) close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
}

// readLimited reads to the end, but no more than one byte above n. The buffer grows with what comes.
func readLimited(r io.Reader, n int) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(n+bytes.MinRead, 1<<20)))
	_, err := b.ReadFrom(io.LimitReader(r, int64(n)+1))
	return b.Bytes(), err
}

var errTooFew = errors.New("they are too few")

// lz4Block decodes one block without a frame.
func lz4Block(src []byte, n int) ([]byte, error) {
	if n/maxLZ4Ratio > len(src) {
		return nil, errTooFew
	}
	dst := make([]byte, n)
	m, err := lz4.UncompressBlock(src, dst)
	return dst[:m], err
}

// lz4Any decodes the codec LZ4, which never said what it is: Hadoop's frames by parquet-java and Spark, a block or
// an LZ4 frame by older versions of parquet-cpp. Each is taken only if it gives all n bytes.
func lz4Any(src []byte, n int) ([]byte, error) {
	if out, err := lz4Hadoop(src, n); err == nil && len(out) == n {
		return out, nil
	}
	if bytes.HasPrefix(src, []byte("\x04\x22\x4d\x18")) {
		if out, err := readLimited(lz4.NewReader(bytes.NewReader(src)), n); err == nil && len(out) == n {
			return out, nil
		}
	}
	return lz4Block(src, n)
}

// lz4Hadoop decodes blocks that each start with their uncompressed size, and have one or several pieces, each
// behind its compressed size; both are big-endian.
func lz4Hadoop(src []byte, n int) ([]byte, error) {
	if n/maxLZ4Ratio > len(src) {
		return nil, errTooFew
	}
	out, at := make([]byte, n), 0
	for len(src) > 0 {
		size, rest, ok := bigEndian(src)
		if !ok || size > n-at {
			return nil, errTooFew
		}
		for end := at + size; at < end; {
			piece, body, ok := bigEndian(rest)
			if !ok || piece > len(body) {
				return nil, errTooFew
			}
			m, err := lz4.UncompressBlock(body[:piece], out[at:end])
			if err != nil {
				return nil, err
			}
			at, rest = at+m, body[piece:]
		}
		src = rest
	}
	return out[:at], nil
}

func bigEndian(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, false
	}
	v := binary.BigEndian.Uint32(b)
	return int(v & 0x7fffffff), b[4:], v < 1<<31
}
