// The labelling that costs least, of equal ones the first: its labels, its energy, and a weight of one at every label.
//
// After common.cuh. Macros: K, LANES, WARPS.

// Blocks (nodes / threads, photos) of WARPS warps.
//   energies  (iterations + 1, photos) double
//   made      (iterations + 1, photos, nodes) int, the labellings
//   nodes, iterations  int
//   last      (photos) int, the last step that changed a message: labellings beyond the next one were not made
//   labels    (photos, nodes) int, written
//   energy    (photos) double, written
//   weights   (photos, nodes, K) float, written
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
choose(const double* energies, const int* made, int nodes, int iterations, const int* last, int* labels, double* energy,
       float* weights) {
    const int64 photo = blockIdx.y, photos = gridDim.y;
    const int node = blockIdx.x * WARPS * LANES + threadIdx.x, end = min(last[photo] + 1, iterations);
    int64 best = 0;
    double least = energies[photo];
    for (int64 step = 1; step <= end; ++step) {
        const double one = energies[step * photos + photo];
        if (one < least) {
            least = one;
            best = step;
        }
    }
    if (node == 0) energy[photo] = least;
    if (node >= nodes) return;
    const int label = made[(best * photos + photo) * nodes + node];
    labels[photo * nodes + node] = label;
#pragma unroll 2
    for (int i = 0; i < K; ++i) weights[(photo * nodes + node) * K + i] = i == label ? 1.0f : 0.0f;
}
