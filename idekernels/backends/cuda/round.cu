// Pictures in [0, 1] as images of whole grey levels, their channels side by side; halves go to even.
//
// After common.cuh. Macros: PLANES (the channels), THREADS.

// Blocks (pixels / THREADS, photos) of THREADS threads: a thread a pixel.
//   levels  (photos, PLANES, pixels) float32
//   pixels  int
//   images  (photos, pixels, PLANES) uint8, written
extern "C" __global__ void __launch_bounds__(THREADS)
round_levels(const float* __restrict__ levels, int pixels, uint8* __restrict__ images) {
    const int pixel = blockIdx.x * THREADS + threadIdx.x;
    if (pixel >= pixels) return;
    const int64 first = (int64)blockIdx.y * PLANES * pixels;
#pragma unroll
    for (int plane = 0; plane < PLANES; ++plane)
        images[first + (int64)pixel * PLANES + plane] =
            (uint8)(int)rintf(levels[first + (int64)plane * pixels + pixel] * 255.0f);
}
