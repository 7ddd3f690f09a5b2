// Types of all kernels. LANES (threads of a warp) and WORST (the distance of an empty entry, which no patch reaches)
// are macros that launch.py gives the compiler.

#ifndef SHARED
#define SHARED(type, name, count) __shared__ type name[count]  // the emulator of the tests has its own
#define READ(pointer) (*(pointer))  // of a word whose address must be a multiple of 4: the emulator looks
#endif

#ifndef SHARED_QUADS  // the emulator of the tests has its own
#define SHARED_QUADS(name, count) __shared__ __align__(16) unsigned name[count]
#define QUAD_AT(array, word) (*reinterpret_cast<const uint4*>((array) + (word)))  // four words from a multiple of 4 on
#endif

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef long long int64;

constexpr uint32 FULL = 0xffffffffu;  // all lanes of a warp; all bits of a word
