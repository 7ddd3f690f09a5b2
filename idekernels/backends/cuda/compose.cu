// Each node's patch, sum_k w_k O_k, in the order of k. A thread has four pixels, one word of every candidate, where a
// candidate is whole words, and else one pixel.
//
// After common.cuh (blending.py puts the files together). Macros: KEPT (K), PATCH, PLANES (the channels), THREADS.

constexpr int BYTES = PLANES * PATCH * PATCH;  // of a candidate
constexpr bool IN_WORDS = BYTES % 4 == 0;
constexpr int ITEMS = IN_WORDS ? BYTES / 4 : BYTES;  // threads of a node
constexpr int AHEAD = KEPT <= 16 ? KEPT : 8;         // candidates whose pixels are on their way at once

// Blocks (nodes * ITEMS / THREADS, photos) of THREADS threads.
//   targets  (photos, nodes, KEPT, PLANES, PATCH, PATCH) uint8, at a multiple of 4 bytes
//   weights  (photos, nodes, KEPT) float32
//   nodes    int
//   out      (photos, nodes, PLANES, PATCH, PATCH) float32, written
extern "C" __global__ void __launch_bounds__(THREADS)
compose(const uint8* __restrict__ targets, const float* __restrict__ weights, int nodes, float* __restrict__ out) {
    const int item = blockIdx.x * THREADS + threadIdx.x;
    if (item >= nodes * ITEMS) return;
    const int64 node = (int64)blockIdx.y * nodes + item / ITEMS;
    const int part = item % ITEMS;
    const uint8* levels = targets + node * KEPT * BYTES;
    const float* shares = weights + node * KEPT;
    if (IN_WORDS) {
        const uint32* words = reinterpret_cast<const uint32*>(levels) + part;
        float sum[4] = {};
#pragma unroll AHEAD
        for (int k = 0; k < KEPT; ++k) {
            const uint32 word = READ(words + k * (BYTES / 4));
            const float share = shares[k];
#pragma unroll
            for (int byte = 0; byte < 4; ++byte) sum[byte] += share * (float)(word >> 8 * byte & 255u);
        }
        reinterpret_cast<float4*>(out + node * BYTES)[part] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    } else {
        float sum = 0;
#pragma unroll AHEAD
        for (int k = 0; k < KEPT; ++k) sum += shares[k] * (float)levels[k * BYTES + part];
        out[node * BYTES + part] = sum;
    }
}
