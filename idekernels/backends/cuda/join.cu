// The field of patches from which each node's medoid is subtracted: ridge and overlaps added to the evidence.
//
// After common.cuh and field.cuh. Macros: K, GROUP, SLOTS, UNROLLED, WARPS, BLOCKS, LANES.

// Entry (row, column) of a table of products without that of candidate b in the row. Of two rows the difference is the
// entry when one row's candidate is subtracted from the rows' and b from the columns'; exact where entries are integers
// below 2^24.
__device__ __forceinline__ float less(const float* table, int row, int column, int b) {
    return table[row * K + column] - table[row * K + b];
}

// One edge as one of its ends sees it. table: own or other. q: the other end's medoid. Where there is no edge its tables are
// another one, whose numbers are read and not used: no read waits for a branch.
struct End {
    const float *table, *cross;
    bool there, first;
    int q;

    __device__ __forceinline__ End(const float* mine, const float* both, bool exists, bool one, const int* medoid,
                                   const float* instead)
        : table(exists ? mine : instead), cross(exists ? both : instead), there(exists), first(one),
          q(exists ? *medoid : 0) {}
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
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS * 3 / 4)  // registers for fourteen reads at once
join(const float* __restrict__ gram, int centred, const float* __restrict__ own, const float* __restrict__ other,
     const float* __restrict__ cross, const int* __restrict__ middle, float alpha, float ridge, int rows, int columns,
     float* __restrict__ hessian, float* __restrict__ linear, float* __restrict__ parts, float* __restrict__ made) {
    const int group = blockIdx.x * WARPS * GROUPS + threadIdx.x / GROUP, nodes = rows * columns;
    if (group >= nodes) return;
    const int64 photo = blockIdx.y, edges = rows * (columns - 1) + (rows - 1) * columns;
    const Place place(group, rows, columns);
    const int64 beside = (photo * edges + place.beside()) * CELLS, under = (photo * edges + place.under()) * CELLS;
    const int64 at = photo * nodes + group;
    const float* const evidence = gram + at * CELLS;
    const int o = middle[at];
    const int64 left = beside - CELLS, above = under - (int64)columns * CELLS;
    const End ends[4] = {End(own + beside, cross + beside, place.right(), true, middle + at + 1, evidence),
                         End(other + left, cross + left, place.left(), false, middle + at - 1, evidence),
                         End(own + under, cross + under, place.below(), true, middle + at + columns, evidence),
                         End(other + above, cross + above, place.above(), false, middle + at - columns, evidence)};
    for (int i = threadIdx.x % GROUP; i < K; i += GROUP) {
        float medoid[4], across[4];  // the medoid's row in every table of an edge
#pragma unroll
        for (int side = 0; side < 4; ++side) {
            medoid[side] = less(ends[side].table, o, i, o);
            across[side] = less(ends[side].cross, o, i, ends[side].q);  // of the edges that begin here
        }
        const float alone = less(evidence, o, i, o);
#pragma unroll 1
        for (int j = 0; j < K; ++j) {  // cells [j][i]: neighbouring lanes, neighbouring cells
            const int cell = j * K + i;
            const float mine = less(evidence, j, i, o) - alone;
            const float right = alpha * (less(ends[0].cross, j, i, ends[0].q) - across[0]);
            const float below = alpha * (less(ends[2].cross, j, i, ends[2].q) - across[2]);
            float overlaps[4], entry = centred ? hessian[at * CELLS + cell] : mine;
#pragma unroll
            for (int side = 0; side < 4; ++side)
                overlaps[side] = alpha * (less(ends[side].table, j, i, o) - medoid[side]);
            if (i == j) entry += ridge;
#pragma unroll
            for (int side = 0; side < 4; ++side)
                if (ends[side].there) entry += overlaps[side];
            hessian[at * CELLS + cell] = entry;
            if (ends[0].there) made[beside + cell] = right;
            if (ends[2].there) made[under + cell] = below;
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
