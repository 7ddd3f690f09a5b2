// Weighted mean of the patches that cover a pixel, those of upper nodes first. A thread a pixel; which nodes cover it
// follows from the grid (grid.cuh): no table is read.
//
// After common.cuh, levels.cuh and grid.cuh (blending.py puts the files together). Macros: PATCH, STEP, PLANES
// (the channels), WARPS.

// The first node of an axis whose patch covers a pixel, and the one after the last.
__device__ __forceinline__ int first_covering(int pixel) {
    return pixel < PATCH ? 0 : (pixel - PATCH) / STEP + 1;
}
__device__ __forceinline__ int end_covering(int pixel, int nodes, int last) {
    return pixel < last ? pixel / STEP + 1 : nodes;
}

// Blocks (width / LANES, height / WARPS, photos * PLANES) of LANES * WARPS threads: a warp has pixels of a row.
//   patches  (photos, rows * columns, PLANES, PATCH, PATCH) float32
//   window   (PATCH, PATCH) float32
//   height, width, rows, columns (of nodes)   int
//   most     float: what is given is a share of it, clipped to 0 .. 1; 0: the mean itself
//   out      (photos, PLANES, height, width) float32, written
extern "C" __global__ void __launch_bounds__(LANES * WARPS)
blend(const float* __restrict__ patches, const float* __restrict__ window, int height, int width, int rows,
      int columns, float most, float* __restrict__ out) {
    const int x = blockIdx.x * LANES + threadIdx.x % LANES, y = blockIdx.y * WARPS + threadIdx.x / LANES;
    if (x >= width || y >= height) return;
    const int photo = blockIdx.z / PLANES, plane = blockIdx.z % PLANES;
    const int last_row = height - PATCH, last_column = width - PATCH;
    const int first = first_covering(x), end = end_covering(x, columns, last_column);
    float total = 0, weight = 0;
#pragma unroll 1
    for (int r = first_covering(y); r < end_covering(y, rows, last_row); ++r) {
        const int down = (y - anchor(r, STEP, last_row)) * PATCH;
        const int64 row = ((int64)photo * rows + r) * columns;
#pragma unroll 1
        for (int c = first; c < end; ++c) {
            const int pixel = down + x - anchor(c, STEP, last_column);
            const float share = window[pixel];
            total += share * patches[((row + c) * PLANES + plane) * (PATCH * PATCH) + pixel];
            weight += share;
        }
    }
    const float mean = total / weight;
    out[((int64)blockIdx.z * height + y) * width + x] = most > 0 ? share_of(mean, most) : mean;
}
