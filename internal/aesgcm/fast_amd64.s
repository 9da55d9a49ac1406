//go:build amd64 && !portable

#include "textflag.h"

// Reverses the bytes of each block.
DATA swap<>+0x00(SB)/8, $0x08090a0b0c0d0e0f
DATA swap<>+0x08(SB)/8, $0x0001020304050607
GLOBL swap<>(SB), RODATA, $16

DATA polynomial<>+0x00(SB)/8, $0x0000000000000001
DATA polynomial<>+0x08(SB)/8, $0xc200000000000000
GLOBL polynomial<>(SB), RODATA, $16

// What the four counters of a register are ahead of J0, and their step.
DATA first<>+0x00(SB)/8, $1
DATA first<>+0x08(SB)/8, $0
DATA first<>+0x10(SB)/8, $2
DATA first<>+0x18(SB)/8, $0
DATA first<>+0x20(SB)/8, $3
DATA first<>+0x28(SB)/8, $0
DATA first<>+0x30(SB)/8, $4
DATA first<>+0x38(SB)/8, $0
GLOBL first<>(SB), RODATA, $64
DATA four<>+0x00(SB)/8, $4
DATA four<>+0x08(SB)/8, $0
GLOBL four<>(SB), RODATA, $16

// Offsets in a schedule.
#define POWERS 0
#define ROUND  448
#define ROUNDS 688

// MUL begins the product of four blocks with four powers: low in Z6, middle in
// Z7, high in Z8. MULADD adds another one.
#define MUL(b, h) \
	VPCLMULQDQ $0x00, h, b, Z6; \
	VPCLMULQDQ $0x11, h, b, Z8; \
	VPCLMULQDQ $0x01, h, b, Z7; \
	VPCLMULQDQ $0x10, h, b, Z9; \
	VPXORQ     Z9, Z7, Z7

#define MULADD(b, h) \
	VPCLMULQDQ $0x00, h, b, Z9; \
	VPXORQ     Z9, Z6, Z6; \
	VPCLMULQDQ $0x11, h, b, Z9; \
	VPXORQ     Z9, Z8, Z8; \
	VPCLMULQDQ $0x01, h, b, Z9; \
	VPCLMULQDQ $0x10, h, b, Z15; \
	VPTERNLOGQ $0x96, Z9, Z15, Z7

// REDUCE brings the product in X6, X7, X8 back into the field, to X10.
#define REDUCE \
	VPSLLDQ    $8, X7, X11; \
	VPSRLDQ    $8, X7, X12; \
	VPXOR      X11, X6, X6; \
	VPXOR      X12, X8, X8; \
	VPCLMULQDQ $0x01, X6, X14, X11; \
	VPSHUFD    $78, X6, X6; \
	VPXOR      X11, X6, X6; \
	VPCLMULQDQ $0x01, X6, X14, X11; \
	VPSHUFD    $78, X6, X6; \
	VPXOR      X11, X6, X6; \
	VPXOR      X8, X6, X10

// SUM adds up the four lanes of Z6, Z7 and Z8, and reduces the sum.
#define SUM \
	VEXTRACTI64X4 $1, Z6, Y11; \
	VPXORQ        Y11, Y6, Y6; \
	VEXTRACTI64X4 $1, Z7, Y12; \
	VPXORQ        Y12, Y7, Y7; \
	VEXTRACTI64X4 $1, Z8, Y13; \
	VPXORQ        Y13, Y8, Y8; \
	VEXTRACTI128  $1, Y6, X11; \
	VPXOR         X11, X6, X6; \
	VEXTRACTI128  $1, Y7, X12; \
	VPXOR         X12, X7, X7; \
	VEXTRACTI128  $1, Y8, X13; \
	VPXOR         X13, X8, X8; \
	REDUCE

// MASK makes a mask of the first CX bytes of 64 in k, and takes 64 from CX.
#define MASK(k) \
	MOVQ    $64, R13; \
	CMPQ    CX, R13; \
	CMOVQLT CX, R13; \
	MOVQ    $-1, R14; \
	BZHIQ   R13, R14, R14; \
	KMOVQ   R14, k; \
	XORL    R13, R13; \
	SUBQ    $64, CX; \
	CMOVQLT R13, CX

// func cryptBlocks(s *schedule, nonce *[NonceSize]byte, aad *byte, aadLen int, dst, src *byte, n int, tag *byte, sealing uint64)
//
// What is hashed is the ciphertext: what goes out when sealing, of which K7 has
// all bits, and what comes in otherwise.
TEXT ·cryptBlocks(SB), NOSPLIT, $0-72
	MOVQ s+0(FP), DX
	MOVQ sealing+64(FP), R9
	KMOVQ R9, K7
	MOVQ nonce+8(FP), R10
	MOVQ dst+32(FP), DI
	MOVQ src+40(FP), R11
	MOVQ n+48(FP), SI
	LEAQ ROUND(DX), AX
	MOVQ ROUNDS(DX), R8
	SHLQ $4, R8
	ADDQ AX, R8 // the last round key

	VMOVDQU         polynomial<>(SB), X14
	VBROADCASTI32X4 swap<>(SB), Z31
	VBROADCASTI32X4 four<>(SB), Z30
	VBROADCASTI32X4 (AX), Z29
	VBROADCASTI32X4 (R8), Z28

	// J0 is nonce, 0, 0, 0, 1; its keystream, in X27, closes the tag.
	MOVQ            (R10), R9
	VMOVQ           R9, X0
	MOVL            8(R10), R9
	BTSQ            $56, R9
	VPINSRQ         $1, R9, X0, X0
	VSHUFI32X4      $0, Z0, Z0, Z0
	VPXORQ          Z29, Z0, Z27
	LEAQ            16(AX), R9

closing:
	VAESENC (R9), X27, X27
	ADDQ    $16, R9
	CMPQ    R9, R8
	JNE     closing
	VAESENCLAST Z28, Z27, Z27

	// Counters count in swapped bytes.
	VPSHUFB Z31, Z0, Z0
	VPADDD  first<>(SB), Z0, Z0

	// The hash of the additional data.
	VPXOR     X10, X10, X10
	MOVQ      aad+16(FP), R9
	MOVQ      aadLen+24(FP), R10
	TESTQ     R10, R10
	JE        keys
	MOVQ      R10, CX
	MASK(K1)
	VMOVDQU8.Z (R9), K1, Z1
	VPSHUFB   Z31, Z1, Z1
	LEAQ      15(R10), CX
	SHRQ      $4, CX
	NEGQ      CX
	ADDQ      $16, CX
	SHLQ      $4, CX
	VMOVDQU64 POWERS(DX)(CX*1), Z16
	MUL(Z1, Z16)
	SUM

keys:
	VMOVDQU64 POWERS+0(DX), Z16
	VMOVDQU64 POWERS+64(DX), Z17
	VMOVDQU64 POWERS+128(DX), Z18
	VMOVDQU64 POWERS+192(DX), Z19
	TESTQ     SI, SI
	JE        lengths
	MOVQ      SI, BX // bytes left

turn:
	VPSHUFB Z31, Z0, Z1
	VPADDD  Z30, Z0, Z0
	VPSHUFB Z31, Z0, Z2
	VPADDD  Z30, Z0, Z0
	VPSHUFB Z31, Z0, Z3
	VPADDD  Z30, Z0, Z0
	VPSHUFB Z31, Z0, Z4
	VPADDD  Z30, Z0, Z0
	VPXORQ  Z29, Z1, Z1
	VPXORQ  Z29, Z2, Z2
	VPXORQ  Z29, Z3, Z3
	VPXORQ  Z29, Z4, Z4
	LEAQ    16(AX), R9

round:
	VBROADCASTI32X4 (R9), Z5
	VAESENC         Z5, Z1, Z1
	VAESENC         Z5, Z2, Z2
	VAESENC         Z5, Z3, Z3
	VAESENC         Z5, Z4, Z4
	ADDQ            $16, R9
	CMPQ            R9, R8
	JNE             round
	VAESENCLAST     Z28, Z1, Z1
	VAESENCLAST     Z28, Z2, Z2
	VAESENCLAST     Z28, Z3, Z3
	VAESENCLAST     Z28, Z4, Z4
	CMPQ            BX, $256
	JLT             last
	VMOVDQU64       (R11), Z20
	VMOVDQU64       64(R11), Z21
	VMOVDQU64       128(R11), Z22
	VMOVDQU64       192(R11), Z23
	VPXORQ          Z20, Z1, Z1
	VPXORQ          Z21, Z2, Z2
	VPXORQ          Z22, Z3, Z3
	VPXORQ          Z23, Z4, Z4
	VMOVDQU64       Z1, (DI)
	VMOVDQU64       Z2, 64(DI)
	VMOVDQU64       Z3, 128(DI)
	VMOVDQU64       Z4, 192(DI)
	ADDQ            $256, R11
	ADDQ            $256, DI
	VMOVDQA64       Z1, K7, Z20
	VMOVDQA64       Z2, K7, Z21
	VMOVDQA64       Z3, K7, Z22
	VMOVDQA64       Z4, K7, Z23
	VPSHUFB         Z31, Z20, Z20
	VPSHUFB         Z31, Z21, Z21
	VPSHUFB         Z31, Z22, Z22
	VPSHUFB         Z31, Z23, Z23
	MUL(Z23, Z19)
	MULADD(Z22, Z18)
	MULADD(Z21, Z17)
	VPXORQ          Z10, Z20, Z20
	MULADD(Z20, Z16)
	SUM
	SUBQ            $256, BX
	JE              lengths
	JMP             turn

last:
	// Less than 16 blocks: neither read nor written beyond the end.
	MOVQ       BX, CX
	MASK(K1)
	MASK(K2)
	MASK(K3)
	MASK(K4)
	VMOVDQU8.Z (R11), K1, Z20
	VMOVDQU8.Z 64(R11), K2, Z21
	VMOVDQU8.Z 128(R11), K3, Z22
	VMOVDQU8.Z 192(R11), K4, Z23
	VPXORQ     Z20, Z1, Z1
	VPXORQ     Z21, Z2, Z2
	VPXORQ     Z22, Z3, Z3
	VPXORQ     Z23, Z4, Z4
	VMOVDQU8   Z1, K1, (DI)
	VMOVDQU8   Z2, K2, 64(DI)
	VMOVDQU8   Z3, K3, 128(DI)
	VMOVDQU8   Z4, K4, 192(DI)
	VMOVDQU8.Z Z1, K1, Z1
	VMOVDQU8.Z Z2, K2, Z2
	VMOVDQU8.Z Z3, K3, Z3
	VMOVDQU8.Z Z4, K4, Z4
	VMOVDQA64  Z1, K7, Z20
	VMOVDQA64  Z2, K7, Z21
	VMOVDQA64  Z3, K7, Z22
	VMOVDQA64  Z4, K7, Z23
	VPSHUFB    Z31, Z20, Z20
	VPSHUFB    Z31, Z21, Z21
	VPSHUFB    Z31, Z22, Z22
	VPSHUFB    Z31, Z23, Z23
	LEAQ       15(BX), CX
	SHRQ       $4, CX
	NEGQ       CX
	ADDQ       $16, CX
	SHLQ       $4, CX
	VMOVDQU64  POWERS+0(DX)(CX*1), Z16
	VMOVDQU64  POWERS+64(DX)(CX*1), Z17
	VMOVDQU64  POWERS+128(DX)(CX*1), Z18
	VMOVDQU64  POWERS+192(DX)(CX*1), Z19
	MUL(Z23, Z19)
	MULADD(Z22, Z18)
	MULADD(Z21, Z17)
	VPXORQ     Z10, Z20, Z20
	MULADD(Z20, Z16)
	SUM

lengths:
	SHLQ       $3, SI
	VMOVQ      SI, X1
	MOVQ       aadLen+24(FP), R10
	SHLQ       $3, R10
	VPINSRQ    $1, R10, X1, X1
	VPXOR      X10, X1, X1
	VMOVDQU    POWERS+240(DX), X2
	VPCLMULQDQ $0x00, X2, X1, X6
	VPCLMULQDQ $0x11, X2, X1, X8
	VPCLMULQDQ $0x01, X2, X1, X7
	VPCLMULQDQ $0x10, X2, X1, X9
	VPXOR      X9, X7, X7
	REDUCE
	VPSHUFB    swap<>(SB), X10, X10
	VPXORQ     X27, X10, X10
	MOVQ       tag+56(FP), DI
	VMOVDQU    X10, (DI)
	VZEROUPPER
	RET

// func subWord(w uint32) uint32
TEXT ·subWord(SB), NOSPLIT, $0-12
	MOVL            w+0(FP), AX
	MOVQ            AX, X0
	PSHUFL          $0, X0, X0
	AESKEYGENASSIST $0, X0, X0
	MOVQ            X0, AX
	MOVL            AX, ret+8(FP)
	RET
