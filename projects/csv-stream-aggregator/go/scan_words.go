//go:build !amd64.v3

package main

func findMasks(found []masks, text []byte, delimiter byte) {
	findMasksByWord(found, text, delimiter)
}
