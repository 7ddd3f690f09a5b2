// CUDA C++ on the host: one fiber a thread, so that barriers and shuffles really wait; says what a GPU would not.
//
// Blocks run one after the other, the threads of a block in turns, in rising or falling order, each until it waits.
// Reported: a barrier that not all threads of the block reach, or reach at different places; warp functions that not all
// lanes reach, or different ones; shared memory read or written out of bounds, read before it is written, or touched by
// two threads, one of them writing, with no barrier in between (for lanes of one warp __syncwarp is one too). Warps are
// of 32; block shapes are of one dimension.
//
// Where the macro CLUSTER is above 1, so many neighbouring blocks run in turns with one another, each with shared memory
// of its own, and cluster_barrier waits for all of them. What one block writes to global memory the others see at once:
// a read that lacks its barrier is found only where one of the two orders of threads gives another result.
//
// Here is what kernels see; emulator.cpp, which is compiled once and linked to each of them, runs the fibers.
#pragma once

#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS  // math.h of C: what C++ adds to it takes longer to read than a kernel to compile
#include <math.h>
#undef _GLIBCXX_INCLUDE_NEXT_C_HEADERS

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

using std::max;
using std::min;

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)

#ifndef CLUSTER
#define CLUSTER 1
#endif

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr int WARP = 32;
constexpr unsigned MOST = 16;  // blocks of a cluster

enum class State { runnable, at_barrier, at_cluster, in_warp, done };

struct Thread {
    State state = State::runnable;
    const char* file = "";     // of the barrier that it waits at
    int line = 0;
    const char* what = "";     // the warp function that it waits in
    unsigned rounds = 0;       // warp functions that it has come through
    unsigned syncs = 0;        // those of them that order shared memory
    uint64_t posted[2] = {};   // what it gave, to the current one and to the last
    bool voted[2] = {};
    uint32_t operands[2][6] = {};  // what it gave to a product of tensor cores: a, then b
};

struct Block {  // or a cluster of them: the threads of its blocks one after the other
    Thread* threads = nullptr;
    int current = 0;
    unsigned epochs[MOST] = {};  // barriers that each block has passed
};

extern Block block;

// What every block finds as it was.
struct Resettable {
    virtual void reset() = 0;
};

void add(Resettable* array);

inline unsigned rank() {  // of the current thread's block in its cluster
    return (unsigned)block.current / blockDim.x;
}

// Say what is wrong, as printf does, unless something was before; the thread comes no further.
[[noreturn]] void fail(const char* format, ...);

inline long long word_of(long long byte) {
    if (byte % 4) fail("misaligned shared memory: byte %lld", byte);
    return byte / 4;
}

// A word of global memory, which a device reads from multiples of its size alone.
template <typename T>
T read(const T* from) {
    if ((uintptr_t)from % sizeof(T)) fail("misaligned global memory: %d", (int)((uintptr_t)from % sizeof(T)));
    return *from;
}

void barrier(const char* file, int line, State where);

// Give a value to the warp's other lanes and wait until all have given theirs; gives the number of the exchange.
unsigned exchange(const char* what, uint64_t value, bool vote);

// Run a kernel whose clusters have so many blocks; gives "" or what was wrong.
const char* launch(dim3 grid, unsigned threads, unsigned cluster, bool reverse, void (*body)(void*), void* given);

// What is wrong with the sizes of so many arguments, of which the kernel takes ``most``; null if nothing is.
const char* unfit(const unsigned* sizes, unsigned count, const size_t* taken, size_t most);

inline Thread& lane_of_mine(int lane) {
    return block.threads[block.current / WARP * WARP + lane];
}

template <typename T>
T taken(unsigned round, int lane) {
    T value;
    std::memcpy(&value, &lane_of_mine(lane).posted[round % 2], sizeof(T));
    return value;
}

template <typename T>
uint64_t bits(T value) {
    uint64_t whole = 0;
    std::memcpy(&whole, &value, sizeof(T));
    return whole;
}

// An array in shared memory that knows who touched what; every block of a cluster has its own.
template <typename T, int N>
class Shared : Resettable {
    struct Touch {
        int thread = -1, warp = -1;  // -1 none, -2 several
        unsigned epoch = 0, syncs = 0;  // when: barriers of the block, and of the warp (the last that touched it)

        void add() {
            const int mine = block.current / WARP;
            const bool before = warp == mine && syncs != block.threads[block.current].syncs;  // a warp's barrier ago
            const bool again = thread != -1 && epoch == block.epochs[rank()] && !before;
            thread = again && thread != block.current ? -2 : block.current;
            warp = again && warp != mine ? -2 : mine;
            epoch = block.epochs[rank()];
            syncs = block.threads[block.current].syncs;
        }
        bool unordered() const {  // of another thread, and no barrier since
            if (thread == -1 || thread == block.current || epoch != block.epochs[rank()]) return false;
            return warp != block.current / WARP || syncs == block.threads[block.current].syncs;
        }
    };
    struct Cell {
        T value;
        Touch written, read;
    };
    Cell* cells;  // for ever, as the library is
    const char* name;

    Cell& at(long long index) {
        if (index < 0 || index >= N)
            fail("shared memory out of bounds: %s[%lld] of %d", name, index, N);
        return cells[(size_t)index + (size_t)N * rank()];
    }

    void race(const char* how, long long index) {
        fail("race on shared memory: %s[%lld] %s with no barrier in between", name, index, how);
    }

public:
    explicit Shared(const char* called) : cells(new Cell[(size_t)N * CLUSTER]), name(called) { add(this); }
    void reset() override {
        for (size_t i = 0; i < (size_t)N * CLUSTER; ++i) cells[i] = Cell{T(), {}, {}};
    }
    T load(long long index) {
        Cell& cell = at(index);
        if (cell.written.thread == -1) fail("shared memory read before it was written: %s", name);
        if (cell.written.unordered()) race("read and written", index);
        cell.read.add();
        return cell.value;
    }
    void store(long long index, T value) {
        Cell& cell = at(index);
        if (cell.written.unordered()) race("written twice", index);
        if (cell.read.unordered()) race("read and written", index);
        cell.value = value;
        cell.written = Touch();
        cell.written.add();
    }
    struct Ref {
        Shared& array;
        long long index;
        operator T() const { return array.load(index); }
        T operator=(T value) const { array.store(index, value); return value; }
        T operator=(const Ref& other) const { return *this = (T)other; }
        T operator+=(T value) const { return *this = (T)((T)*this + value); }
    };
    Ref operator[](long long index) { return Ref{*this, index}; }
};

}  // namespace emulator

#define SHARED(type, name, count) static emulator::Shared<type, (count)> name(#name)
#define __syncthreads() emulator::barrier(__FILE__, __LINE__, emulator::State::at_barrier)
#define cluster_barrier() emulator::barrier(__FILE__, __LINE__, emulator::State::at_cluster)

inline void __syncwarp() {
    emulator::exchange("__syncwarp", 0, false);
    ++emulator::block.threads[emulator::block.current].syncs;
}

#define READ(pointer) emulator::read(pointer)

template <typename T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {  // within the lane's run of ``width`` lanes
    const int first = emulator::block.current % emulator::WARP / width * width;
    const unsigned round = emulator::exchange("__shfl_sync", emulator::bits(value), false);
    return emulator::taken<T>(round, first + (source & (width - 1)));
}

template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned by) {
    const int lane = emulator::block.current % emulator::WARP;
    const unsigned round = emulator::exchange("__shfl_up_sync", emulator::bits(value), false);
    return emulator::taken<T>(round, lane >= (int)by ? lane - (int)by : lane);
}

template <typename T>
T __shfl_xor_sync(unsigned, T value, int with) {
    const int lane = emulator::block.current % emulator::WARP;
    const unsigned round = emulator::exchange("__shfl_xor_sync", emulator::bits(value), false);
    return emulator::taken<T>(round, lane ^ with);
}

inline unsigned __ballot_sync(unsigned, bool vote) {
    const unsigned round = emulator::exchange("__ballot_sync", 0, vote);
    unsigned all = 0;
    for (int lane = 0; lane < emulator::WARP; ++lane) all |= (unsigned)emulator::lane_of_mine(lane).voted[round % 2] << lane;
    return all;
}

template <typename T>
unsigned __match_any_sync(unsigned, T value) {  // the lanes that gave the same
    const unsigned round = emulator::exchange("__match_any_sync", emulator::bits(value), false);
    unsigned alike = 0;
    for (int lane = 0; lane < emulator::WARP; ++lane)
        alike |= (unsigned)(emulator::taken<T>(round, lane) == value) << lane;
    return alike;
}

inline bool __any_sync(unsigned mask, bool vote) {
    return __ballot_sync(mask, vote) != 0;
}

#define TENSOR_CORES  // what tensor.cuh has; multiply_bytes by the layout that the PTX ISA gives for mma.m16n8k32 on bytes

#define WORD_AT(array, byte) ((uint32_t)array[emulator::word_of(byte)])

inline void multiply_bytes(int (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::Thread& mine = emulator::block.threads[emulator::block.current];
    std::copy(a, a + 4, mine.operands[mine.rounds % 2]);
    std::copy(b, b + 2, mine.operands[mine.rounds % 2] + 4);
    const unsigned round = emulator::exchange("mma", 0, false);
    const int lane = emulator::block.current % emulator::WARP, group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? group : group + 8, column = 2 * member + i % 2;
        for (int k = 0; k < 32; ++k) {
            const int which = k / 16, apart = 8 * (k % 4);  // of the words of a lane; bits
            const int with_a = row % 8 * 4 + k % 16 / 4, with_b = column * 4 + k % 16 / 4;  // lanes
            const uint32_t left = emulator::lane_of_mine(with_a).operands[round % 2][2 * which + row / 8];
            const uint32_t right = emulator::lane_of_mine(with_b).operands[round % 2][4 + which];
            sums[i] += (int)((left >> apart & 255) * (right >> apart & 255));
        }
    }
}

// What gram.cuh has: four words of an array in shared memory from a multiple of 16 bytes on, and vectors of four.
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) {
    return float4{x, y, z, w};
}

namespace emulator {

template <int N>
uint4 quad(Shared<uint32_t, N>& array, long long word) {
    if (word % 4) fail("misaligned shared memory: word %lld of a quad", word);
    return uint4{array[word], array[word + 1], array[word + 2], array[word + 3]};
}

}  // namespace emulator

#define SHARED_QUADS(name, count) SHARED(uint32_t, name, count)
#define QUAD_AT(array, word) emulator::quad(array, word)

inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

inline int __popc(unsigned word) {
    return __builtin_popcount(word);
}

inline int __ffs(unsigned word) {
    return __builtin_ffs((int)word);
}

inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t by) {
    const uint64_t both = (uint64_t)high << 32 | low;
    return (uint32_t)(both >> (by & 31));
}

inline uint32_t __vabsdiffu4(uint32_t one, uint32_t other) {
    uint32_t all = 0;
    for (int byte = 0; byte < 32; byte += 8) {
        const int apart = (int)(one >> byte & 255) - (int)(other >> byte & 255);
        all |= (uint32_t)(apart < 0 ? -apart : apart) << byte;
    }
    return all;
}

inline uint32_t __dp4a(uint32_t one, uint32_t other, uint32_t sum) {
    for (int byte = 0; byte < 32; byte += 8) sum += (one >> byte & 255) * (other >> byte & 255);
    return sum;
}

template <typename T>
T atomicAdd(T* where, T value) {  // fibers change hands only where they wait
    const T before = *where;
    *where += value;
    return before;
}
