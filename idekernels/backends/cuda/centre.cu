// Each node's medoid: the candidate nearest to all others in evidence and overlaps together. Subtracting it from all
// candidates keeps the digits of float32 (weighing.py).
//
// After common.cuh and field.cuh. Macros: K, GROUP, SLOTS, UNROLLED, WARPS, BLOCKS, LANES.
//
// A group a node; blocks (nodes / groups of a block, photos) of WARPS warps.
//   gram     (photos, nodes, K, K) float
//   own, other  (photos, edges, K, K) float
//   alpha    float
//   rows, columns  int, nodes of the grid
//   alike    int: 1 where every node starts with the same weights
//   start    (K) float, these; else not read
//   middle   (photos, nodes) int, written
//   dirty    (photos, nodes) uint8, written: all are to be visited
//   last     (photos) int, written: no sweep has moved anything yet
//   weights  (photos, nodes, K) float, written where all start alike
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS)
centre(const float* gram, const float* own, const float* other, float alpha, int rows, int columns, int alike,
       const float* start, int* middle, uint8* dirty, int* last, float* weights) {
    const int group = blockIdx.x * WARPS * GROUPS + threadIdx.x / GROUP, nodes = rows * columns;
    const int edges = rows * (columns - 1) + (rows - 1) * columns;
    const Place place(min(group, nodes - 1), rows, columns);
    const int64 photo = blockIdx.y;
    const float* const evidence = gram + (photo * nodes + place.node) * CELLS;
    const float* const ours = own + (photo * edges) * CELLS;
    const float* const theirs = other + (photo * edges) * CELLS;
    float near[SLOTS];  // the nearest has the largest
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int i = candidate(slot);
        float total = 0, itself = 0;
        for (int j = 0; i < K && j < K; ++j) {
            const int cell = j * K + i;
            float entry = evidence[cell];
            if (place.right()) entry += alpha * ours[(int64)place.beside() * CELLS + cell];
            if (place.left()) entry += alpha * theirs[((int64)place.beside() - 1) * CELLS + cell];
            if (place.below()) entry += alpha * ours[(int64)place.under() * CELLS + cell];
            if (place.above()) entry += alpha * theirs[((int64)place.under() - columns) * CELLS + cell];
            total += entry;
            if (i == j) itself = entry;
        }
        near[slot] = i < K ? -((float)K * itself - 2 * total) : -__int_as_float(0x7f800000);
    }
    const int medoid = largest(near);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
        if (alike && group < nodes && candidate(slot) < K)
            weights[(photo * nodes + group) * K + candidate(slot)] = start[candidate(slot)];
    if (group >= nodes || threadIdx.x % GROUP) return;
    middle[photo * nodes + group] = medoid;
    dirty[photo * nodes + group] = 1;
    if (group == 0) last[photo] = 0;
}
