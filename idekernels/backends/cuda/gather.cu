// Candidates' patches out of a block of the bank's images, of both sides or of one. A warp has MINE candidates: a lane
// works out where one of them lies, then all lanes copy bytes, each lane the same pixels of every candidate, so that it
// finds them but once.
//
// After common.cuh (residency.py puts the files together). Macros: PLANES, CHANNELS, HEIGHT, PITCH (bytes of an image row
// in memory), PATCH, MINE (at most LANES, a multiple of TOGETHER), WARPS (of a block). PLANES are those of the source,
// CHANNELS of the target.

constexpr int PIXELS = 4;                      // of a lane at once
constexpr int TOGETHER = 4;                    // candidates whose bytes are on their way at once
static_assert((int64)(PLANES > CHANNELS ? PLANES : CHANNELS) * HEIGHT * PITCH < 0x80000000ll,
              "bytes of an image are counted in 32 bits");
static_assert(MINE % TOGETHER == 0 && MINE <= LANES, "a lane a candidate");

// Blocks (candidates / (WARPS * MINE), sides) of LANES * WARPS threads. The first side is ``side``: 0 the source, 1 the
// target; what belongs to another is not touched.
//   sources     (count, PLANES, HEIGHT, PITCH) uint8
//   targets     (count, CHANNELS, HEIGHT, PITCH) uint8
//   side, count  int
//   image, row, column  (candidates) int, in the whole bank
//   candidates  int
//   begin       int, the number of the block's first image in the bank
//   source      (candidates, PLANES, PATCH, PATCH) uint8, written for candidates in these images alone, like
//   target      (candidates, CHANNELS, PATCH, PATCH) uint8
extern "C" __global__ void __launch_bounds__(LANES * WARPS)
gather(const uint8* __restrict__ sources, const uint8* __restrict__ targets, int side, int count,
       const int* __restrict__ image, const int* __restrict__ row, const int* __restrict__ column, int candidates,
       int begin, uint8* __restrict__ source, uint8* __restrict__ target) {
    const int lane = threadIdx.x % LANES, first = (blockIdx.x * WARPS + threadIdx.x / LANES) * MINE;
    const bool of_target = side + blockIdx.y == 1;
    const int planes = of_target ? CHANNELS : PLANES, bytes = planes * PATCH * PATCH;  // of a candidate
    const uint8* const images = of_target ? targets : sources;
    int64 corner = -1;  // where this lane's candidate begins; -1: not here
    if (lane < MINE && first + lane < candidates) {
        const int within = image[first + lane] - begin;
        if (within >= 0 && within < count)
            corner = ((int64)within * planes * HEIGHT + row[first + lane]) * PITCH + column[first + lane];
    }
    uint8* to = (of_target ? target : source) + (int64)first * bytes;
#pragma unroll 1
    for (int start = lane; start - lane < bytes; start += PIXELS * LANES) {
        int offset[PIXELS];
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; ++pixel) {
            const int byte = start + pixel * LANES, down = byte / PATCH % PATCH, plane = byte / (PATCH * PATCH);
            offset[pixel] = (plane * HEIGHT + down) * PITCH + byte % PATCH;
        }
#pragma unroll 1
        for (int one = 0; one < MINE; one += TOGETHER) {
            uint8 level[TOGETHER][PIXELS];
            bool here[TOGETHER];
#pragma unroll
            for (int next = 0; next < TOGETHER; ++next) {
                const int64 from = __shfl_sync(FULL, corner, one + next);
                const uint8* levels = images + from;
                here[next] = from >= 0;
#pragma unroll
                for (int pixel = 0; pixel < PIXELS; ++pixel)
                    if (here[next] && start + pixel * LANES < bytes) level[next][pixel] = levels[offset[pixel]];
            }
#pragma unroll
            for (int next = 0; next < TOGETHER; ++next)
#pragma unroll
                for (int pixel = 0; pixel < PIXELS; ++pixel)
                    if (here[next] && start + pixel * LANES < bytes)
                        to[(one + next) * bytes + start + pixel * LANES] = level[next][pixel];
        }
    }
}
