// Sums over a block in float64, of the few numbers that a photo's result is told by; the same whatever else is computed.
//
// After common.cuh. Macros: WARPS, LANES.

// The sum of all threads' values, in all of them. parts: WARPS doubles in shared memory, nobody's since a barrier.
template <typename Parts>
__device__ __forceinline__ double block_sum(double value, Parts& parts) {
#pragma unroll
    for (int with = LANES / 2; with > 0; with /= 2) value += __shfl_xor_sync(FULL, value, with);
    if (threadIdx.x % LANES == 0) parts[threadIdx.x / LANES] = value;
    __syncthreads();
    double total = 0;
#pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) total += parts[warp];
    return total;
}
