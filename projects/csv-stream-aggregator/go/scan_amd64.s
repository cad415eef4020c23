//go:build amd64.v3

#include "textflag.h"

// The bits of one kind: compares both halves of a chunk with WANTED and stores
// the 64 results at OFFSET of the masks.
#define EQUAL(WANTED, OFFSET) \
	VPCMPEQB  Y0, WANTED, Y5   \
	VPCMPEQB  Y1, WANTED, Y6   \
	VPMOVMSKB Y5, AX           \
	VPMOVMSKB Y6, BX           \
	SHLQ      $32, BX          \
	ORQ       BX, AX           \
	MOVQ      AX, OFFSET(DI)

// func findMasksAVX2(found *masks, text *byte, chunks int, delimiter byte)
TEXT ·findMasksAVX2(SB), NOSPLIT, $0-25
	MOVQ         found+0(FP), DI
	MOVQ         text+8(FP), SI
	MOVQ         chunks+16(FP), CX
	VPBROADCASTB delimiter+24(FP), Y2
	MOVQ         $0x0a, AX
	VMOVQ        AX, X3
	VPBROADCASTB X3, Y3              // line feed
	MOVQ         $0x22, AX
	VMOVQ        AX, X4
	VPBROADCASTB X4, Y4              // quote

chunk:
	VMOVDQU   (SI), Y0
	VMOVDQU   32(SI), Y1
	EQUAL(Y2, 0)
	EQUAL(Y3, 8)
	EQUAL(Y4, 16)
	VPMOVMSKB Y0, AX                 // not ASCII: the high bit as it stands
	VPMOVMSKB Y1, BX
	SHLQ      $32, BX
	ORQ       BX, AX
	MOVQ      AX, 24(DI)
	ADDQ      $64, SI
	ADDQ      $32, DI
	DECQ      CX
	JNZ       chunk
	VZEROUPPER
	RET
