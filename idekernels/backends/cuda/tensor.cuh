// Products of bytes on tensor cores (sm_80 and later). The emulator of the tests defines TENSOR_CORES and has its own.

#ifndef TENSOR_CORES
#define TENSOR_CORES

// A word of an array in shared memory by its byte, a multiple of 4: one addition where an index would take a shift too.
#define WORD_AT(array, byte) (*reinterpret_cast<const uint32*>(reinterpret_cast<const uint8*>(array) + (byte)))

// sums += A B for a warp: A of 16 rows and 32 columns, B of 32 rows and 8 columns, unsigned bytes; sums of 32 bits.
//
// Of lane 4 g + t, by words of four bytes along the 32: a[0] row g, word t; a[1] row g + 8, word t; a[2] row g, word
// t + 4; a[3] row g + 8, word t + 4; b[0] column g, word t; b[1] column g, word t + 4. sums[0], [1] row g, columns 2 t
// and 2 t + 1; sums[2], [3] the same of row g + 8. (PTX ISA, "Matrix Fragments for mma.m16n8k32".)
__device__ __forceinline__ void multiply_bytes(int (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm volatile(  // all lanes together: never to be moved behind a branch
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(sums[0]), "r"(sums[1]), "r"(sums[2]),
          "r"(sums[3]));  // zeros that are known need no register
}

#endif
