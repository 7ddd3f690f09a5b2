// What every labelling that belief propagation went through costs.
//
// After common.cuh and sums.cuh. Macros: K, LANES, WARPS.

// Blocks (iterations + 1, photos) of WARPS warps: a block a labelling.
//   costs    (photos, K, nodes) float
//   tables   (2, photos, K, K, nodes) float
//   rows, columns  int, nodes of the grid
//   labels   (iterations + 1, photos, nodes) int
//   last     (photos) int, the last step that changed a message: labellings beyond the next one were not made
//   sums     (iterations + 1, photos) double, written: infinite for a labelling that was not made
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
energies(const float* costs, const float* tables, int rows, int columns, const int* labels, const int* last,
         double* sums) {
    SHARED(double, parts, WARPS);
    const int64 step = blockIdx.x, photo = blockIdx.y, photos = gridDim.y;
    const int nodes = rows * columns;
    const bool made = step <= last[photo] + 1;
    const float* const alone = costs + photo * K * nodes;
    const float* const right = tables + photo * K * K * nodes;
    const float* const below = right + photos * K * K * nodes;
    const int* const mine = labels + (step * photos + photo) * nodes;
    double energy = made ? 0.0 : (double)__int_as_float(0x7f800000);
    for (int node = threadIdx.x; made && node < nodes; node += WARPS * LANES) {
        const int row = node / columns, column = node - row * columns, label = mine[node];
        energy += alone[(int64)label * nodes + node];
        if (column + 1 < columns) energy += right[(int64)(label * K + mine[node + 1]) * nodes + node];
        if (row + 1 < rows) energy += below[(int64)(label * K + mine[node + columns]) * nodes + node];
    }
    energy = block_sum(energy, parts);
    if (threadIdx.x == 0) sums[step * photos + photo] = energy;
}
