//go:build amd64.v3

package main

// findMasks fills found from as many chunks of text. Go has no vector types, so
// the 32 bytes at a time that the other lanes compare take assembly here; a build
// for x86-64-v3 may count on AVX2.
func findMasks(found []masks, text []byte, delimiter byte) {
	if len(text) < len(found)*chunkBytes {
		panic("findMasks: text is shorter than its masks")
	}
	if len(found) > 0 {
		findMasksAVX2(&found[0], &text[0], len(found), delimiter)
	}
}

// findMasksAVX2 reads chunks x 64 bytes and writes as many masks.
//
//go:noescape
func findMasksAVX2(found *masks, text *byte, chunks int, delimiter byte)
