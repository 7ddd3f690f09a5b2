// The planes' evidence together: their tables added, the first plane's first.
//
// After common.cuh. Macros: PLANES, KEPT (K), THREADS.

constexpr int CELLS = KEPT * KEPT;

// Blocks (nodes * CELLS / THREADS, photos) of THREADS threads: a thread an entry.
//   grams  (photos, nodes, PLANES, KEPT, KEPT) float
//   nodes  int
//   out    (photos, nodes, KEPT, KEPT) float, written
extern "C" __global__ void __launch_bounds__(THREADS)
add_planes(const float* __restrict__ grams, int nodes, float* __restrict__ out) {
    const int entry = blockIdx.x * THREADS + threadIdx.x;
    if (entry >= nodes * CELLS) return;
    const int64 node = (int64)blockIdx.y * nodes + entry / CELLS;
    const float* const mine = grams + node * PLANES * CELLS + entry % CELLS;
    float sum = mine[0];
#pragma unroll
    for (int plane = 1; plane < PLANES; ++plane) sum += mine[plane * CELLS];
    out[node * CELLS + entry % CELLS] = sum;
}
