// A photo's objective and Frank-Wolfe gap: the sums of its nodes' shares.
//
// After common.cuh and sums.cuh. Macros: WARPS, LANES.

// Blocks (photos) of WARPS warps.
//   parts      (3, photos, nodes) float: constants, the rest of the objective, gap
//   nodes      int
//   objective  (photos) double, written
//   gap        (photos) double, written
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
total(const float* parts, int nodes, double* objective, double* gap) {
    SHARED(double, of_constants, WARPS);
    SHARED(double, of_rest, WARPS);
    SHARED(double, of_gaps, WARPS);
    const int64 all = (int64)gridDim.x * nodes;
    const float* const mine = parts + (int64)blockIdx.x * nodes;
    double constants = 0, rest = 0, gaps = 0;
    for (int node = threadIdx.x; node < nodes; node += WARPS * LANES) {
        constants += mine[node];
        rest += mine[all + node];
        gaps += mine[2 * all + node];
    }
    constants = block_sum(constants, of_constants);
    rest = block_sum(rest, of_rest);
    gaps = block_sum(gaps, of_gaps);
    if (threadIdx.x) return;
    objective[blockIdx.x] = constants + rest;
    gap[blockIdx.x] = gaps;
}
