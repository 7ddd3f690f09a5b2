// The field of patches from which each node's medoid is subtracted: ridge and overlaps added to the evidence.
//
// After common.cuh and field.cuh. Macros: K, GROUP, SLOTS, UNROLLED, WARPS, BLOCKS, LANES.

// Entry (i, j) of a table of products when candidate a is subtracted from its rows', b from its columns'. Exact where the
// entries are integers below 2^24.
__device__ __forceinline__ float difference(const float* table, int i, int j, int a, int b) {
    return (table[i * K + j] - table[i * K + b]) - (table[a * K + j] - table[a * K + b]);
}

// One edge as one of its ends sees it. table: own or other. q: the other end's medoid.
struct End {
    const float *table, *cross;
    bool there, first;
    int q;
};

// A group a node; blocks (nodes / groups of a block, photos) of WARPS warps.
//   gram     (photos, nodes, K, K) float
//   centred  int: 1 where hessian, linear and parts[0] hold the evidence already, its medoids subtracted
//   own, other, cross  (photos, edges, K, K) float
//   middle   (photos, nodes) int, the medoids
//   alpha, ridge  float
//   rows, columns  int, nodes of the grid
//   hessian  (photos, nodes, K, K) float, written, like
//   linear   (photos, nodes, K) float
//   parts    (3, photos, nodes) float, of which parts[0]: what the medoids cost
//   made     (photos, edges, K, K) float, written: alpha times the cross terms
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS)
join(const float* gram, int centred, const float* own, const float* other, const float* cross, const int* middle,
     float alpha, float ridge, int rows, int columns, float* hessian, float* linear, float* parts, float* made) {
    const int group = blockIdx.x * WARPS * GROUPS + threadIdx.x / GROUP, nodes = rows * columns;
    if (group >= nodes) return;
    const int64 photo = blockIdx.y, edges = rows * (columns - 1) + (rows - 1) * columns;
    const Place place(group, rows, columns);
    const int64 beside = (photo * edges + place.beside()) * CELLS, under = (photo * edges + place.under()) * CELLS;
    const int64 at = photo * nodes + group;
    const float* const evidence = gram + at * CELLS;
    const int o = middle[at];
    const int64 left = beside - CELLS, above = under - (int64)columns * CELLS;
    const End ends[4] = {
        {own + beside, cross + beside, place.right(), true, place.right() ? middle[at + 1] : 0},
        {other + left, cross + left, place.left(), false, place.left() ? middle[at - 1] : 0},
        {own + under, cross + under, place.below(), true, place.below() ? middle[at + columns] : 0},
        {other + above, cross + above, place.above(), false, place.above() ? middle[at - columns] : 0}};
    for (int i = threadIdx.x % GROUP; i < K; i += GROUP) {
        for (int j = 0; j < K; ++j) {  // cells [j][i]: neighbouring lanes, neighbouring cells
            const int cell = j * K + i;
            float entry = centred ? hessian[at * CELLS + cell] : difference(evidence, j, i, o, o);
            if (i == j) entry += ridge;
#pragma unroll
            for (int side = 0; side < 4; ++side)
                if (ends[side].there) entry += alpha * difference(ends[side].table, j, i, o, o);
            hessian[at * CELLS + cell] = entry;
            if (ends[0].there) made[beside + cell] = alpha * difference(ends[0].cross, j, i, o, ends[0].q);
            if (ends[2].there) made[under + cell] = alpha * difference(ends[2].cross, j, i, o, ends[2].q);
        }
        float slope = centred ? linear[at * K + i] : evidence[i * K + o] - evidence[o * K + o];
#pragma unroll
        for (int side = 0; side < 4; ++side)
            if (ends[side].there) {
                const float *const table = ends[side].table, *const both = ends[side].cross;
                const int q = ends[side].q;
                const float near = ends[side].first ? both[o * K + q] : both[q * K + o];
                const float theirs = ends[side].first ? both[i * K + q] : both[q * K + i];
                slope += alpha * ((table[i * K + o] - table[o * K + o]) - (theirs - near));
            }
        linear[at * K + i] = slope;
    }
    if (threadIdx.x % GROUP) return;
    float constant = centred ? parts[at] : evidence[o * K + o];
#pragma unroll
    for (int side = 0; side < 4; side += 2)
        if (ends[side].there) {  // what both medoids cost each other
            const int q = ends[side].q;
            const float near = ends[side].cross[o * K + q];
            const float* const theirs = other + (side ? under : beside);
            constant += alpha * (ends[side].table[o * K + o] + ((theirs[q * K + q] - near) - near));
        }
    parts[at] = constant;
}
