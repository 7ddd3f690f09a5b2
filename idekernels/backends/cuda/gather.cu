// Candidates' patches out of one block of the bank's images. A warp has MINE candidates: a lane works out where one of
// them lies, then all lanes copy bytes, each lane the same pixels of every candidate, so that it finds them but once.
//
// After common.cuh (residency.py puts the files together). Macros: PLANES, HEIGHT, WIDTH, PITCH (bytes of an image row in
// memory), PATCH, MINE (at most LANES, a multiple of TOGETHER), WARPS (of a block).

constexpr int BYTES = PLANES * PATCH * PATCH;  // of a candidate
constexpr int PIXELS = 4;                      // of a lane at once
constexpr int TOGETHER = 4;                    // candidates whose bytes are on their way at once
constexpr int64 IMAGE = (int64)HEIGHT * WIDTH;
static_assert((int64)PLANES * HEIGHT * PITCH < 0x80000000ll, "bytes of an image are counted in 32 bits");
static_assert(MINE % TOGETHER == 0 && MINE <= LANES, "a lane a candidate");

// Blocks (candidates / (WARPS * MINE)) of LANES * WARPS threads.
//   images      (count, PLANES, HEIGHT, PITCH) uint8
//   count       int
//   place       (candidates) int64, in the whole bank: (image * HEIGHT + row) * WIDTH + column
//   candidates  int
//   origin      int64, the place of the block's first pixel
//   out         (candidates, PLANES, PATCH, PATCH) uint8, written for candidates in these images alone
extern "C" __global__ void __launch_bounds__(LANES * WARPS)
gather(const uint8* __restrict__ images, int count, const int64* __restrict__ place, int candidates, int64 origin,
       uint8* __restrict__ out) {
    const int lane = threadIdx.x % LANES, first = (blockIdx.x * WARPS + threadIdx.x / LANES) * MINE;
    int64 corner = -1;  // where this lane's candidate begins; -1: not here
    if (lane < MINE && first + lane < candidates) {
        const int64 within = place[first + lane] - origin;
        if (within >= 0 && within < count * IMAGE) {
            const int64 image = within / IMAGE;
            const int pixel = (int)(within - image * IMAGE);
            corner = (image * PLANES * HEIGHT + pixel / WIDTH) * PITCH + pixel % WIDTH;
        }
    }
    uint8* to = out + (int64)first * BYTES;
#pragma unroll 1
    for (int start = lane; start - lane < BYTES; start += PIXELS * LANES) {
        int offset[PIXELS];
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; ++pixel) {
            const int byte = start + pixel * LANES, row = byte / PATCH % PATCH, plane = byte / (PATCH * PATCH);
            offset[pixel] = (plane * HEIGHT + row) * PITCH + byte % PATCH;
        }
#pragma unroll 1
        for (int one = 0; one < MINE; one += TOGETHER) {
            uint8 level[TOGETHER][PIXELS];
            bool here[TOGETHER];
#pragma unroll
            for (int next = 0; next < TOGETHER; ++next) {
                const int64 from = __shfl_sync(FULL, corner, one + next);
                const uint8* source = images + from;
                here[next] = from >= 0;
#pragma unroll
                for (int pixel = 0; pixel < PIXELS; ++pixel)
                    if (here[next] && start + pixel * LANES < BYTES) level[next][pixel] = source[offset[pixel]];
            }
#pragma unroll
            for (int next = 0; next < TOGETHER; ++next)
#pragma unroll
                for (int pixel = 0; pixel < PIXELS; ++pixel)
                    if (here[next] && start + pixel * LANES < BYTES)
                        to[(one + next) * BYTES + start + pixel * LANES] = level[next][pixel];
        }
    }
}
