// What every labelling that belief propagation went through costs, node by node.
//
// After common.cuh. Macros: K, LANES, WARPS.

// Blocks (nodes / threads, photos, labellings at once) of WARPS warps.
//   costs    (photos, K, nodes) float
//   tables   (2, photos, K, K, nodes) float
//   rows, columns  int, nodes of the grid
//   iterations  int
//   labels   (iterations + 1, photos, nodes) int
//   last     (photos) int, the last step that changed a message: labellings beyond the next one were not made
//   parts    (3, iterations + 1, photos, nodes) float, written: costs of the node, of its edge to the right, of that
//            below; infinite for a labelling that was not made
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
energies(const float* costs, const float* tables, int rows, int columns, int iterations, const int* labels,
         const int* last, float* parts) {
    const int node = blockIdx.x * WARPS * LANES + threadIdx.x, nodes = rows * columns;
    if (node >= nodes) return;
    const int64 photo = blockIdx.y, photos = gridDim.y, all = (iterations + 1) * photos * nodes;
    const int row = node / columns, column = node - row * columns;
    const float* const right = tables + photo * K * K * nodes + node;
    const float* const below = right + photos * K * K * nodes;
    for (int step = blockIdx.z; step <= iterations; step += gridDim.z) {
        const int64 at = (step * photos + photo) * nodes + node;
        const bool made = step <= last[photo] + 1;
        const int label = made ? labels[at] : 0;
        parts[at] = made ? costs[(photo * K + label) * nodes + node] : __int_as_float(0x7f800000);
        parts[all + at] = made && column + 1 < columns ? right[(int64)(label * K + labels[at + 1]) * nodes] : 0.0f;
        parts[2 * all + at] = made && row + 1 < rows ? below[(int64)(label * K + labels[at + columns]) * nodes] : 0.0f;
    }
}
