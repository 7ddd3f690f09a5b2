// The weights as they are given, and each node's share of the objective and of the Frank-Wolfe gap.
//
// After common.cuh and field.cuh. Macros: K, GROUP, SLOTS, UNROLLED, WARPS, BLOCKS, LANES.

// Divide weights by their sum, from which thousands of roundings led away.
__device__ __forceinline__ void normalise(float (&weights)[SLOTS]) {
    float total = 0;
#pragma unroll UNROLLED
    for (int j = 0; j < K; ++j) total += of(weights, j);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) weights[slot] = total != 0 ? weights[slot] / total : weights[slot];
}

// A group a node; blocks (nodes / groups of a block, photos) of WARPS warps.
//   hessian  (photos, nodes, K, K) float
//   linear   (photos, nodes, K) float
//   cross    (photos, edges, K, K) float, alpha included
//   rows, columns  int, nodes of the grid
//   sweeps   int, that could be made; where they are 0 the weights are left as they are
//   last     (photos) int, the last sweep that moved something
//   weights  (photos, nodes, K) float, as the sweeps left them
//   out      (photos, nodes, K) float, written: they sum to one
//   parts    (3, photos, nodes) float, of which parts[1] and parts[2] are written; the constants are not in it
//   made     (photos) int, written: the sweeps made
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS)
certify(const float* hessian, const float* linear, const float* cross, int rows, int columns, int sweeps,
        const int* last, const float* weights, float* out, float* parts, int* made) {
    const int group = blockIdx.x * WARPS * GROUPS + threadIdx.x / GROUP, nodes = rows * columns;
    const int64 photo = blockIdx.y, edges = rows * (columns - 1) + (rows - 1) * columns;
    const int64 at = photo * nodes + group, all = (int64)gridDim.y * nodes;
    const bool busy = group < nodes;
    const Place place(busy ? group : 0, rows, columns);
    Weights all_weights(weights + photo * nodes * K, place, busy);
    float (&mine)[SLOTS] = all_weights.mine, slope[SLOTS];
    if (sweeps) {
        normalise(mine);
        normalise(all_weights.right);
        normalise(all_weights.left);
        normalise(all_weights.below);
        normalise(all_weights.above);
    }
    gradient(place, busy, hessian + photo * nodes * CELLS, linear + photo * nodes * K, cross + photo * edges * CELLS,
             all_weights, slope);
    float lowest = __int_as_float(0x7f800000), inner = 0, apart = 0, terms[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int i = candidate(slot);
        if (i < K) lowest = min(lowest, slope[slot]);
        terms[slot] = busy && i < K ? mine[slot] * (slope[slot] + linear[at * K + i]) : 0.0f;
        if (busy && i < K) out[at * K + i] = mine[slot];
    }
#pragma unroll
    for (int with = GROUP / 2; with > 0; with /= 2) lowest = min(lowest, __shfl_xor_sync(FULL, lowest, with));
#pragma unroll UNROLLED
    for (int j = 0; j < K; ++j) {
        inner += of(terms, j);
        apart += of(mine, j) * (of(slope, j) - lowest);  // not inner - lowest: that would lose the last digits
    }
    if (!busy || threadIdx.x % GROUP) return;
    parts[all + at] = inner;  // the field's cross terms come once from each end
    parts[2 * all + at] = 2 * apart;
    if (group == 0) made[photo] = min(last[photo] + 1, sweeps);
}
