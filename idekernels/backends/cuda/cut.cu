// Quilting: patches laid one over the other in the raster's order, each cut along the cheapest seams through what is
// there already.
//
// A block lays a photo by itself, in one launch. Patches of a wave do not touch one another, and each has a warp: node
// (r, c) is of wave c + behind * r, which is later than those of all its earlier neighbours. Half of a warp seeks the seam
// to the left, down the patch's rows, the other half the seam above, along its columns. Between waves the block waits.
//
// After common.cuh and levels.cuh. Macros: PATCH, CHANNELS, WARPS (of a block), LANES.
constexpr int CELLS = PATCH * PATCH, HALF = LANES / 2, LINE = PATCH + 2;
constexpr float INFINITE = 3e38f;  // more than any path costs

// Blocks (photos) of WARPS warps.
//   patches  (photos, down * across, CHANNELS, PATCH, PATCH) float
//   rows, columns  int, anchors of the grid's nodes; down and across, how many
//   behind   int, waves from a row of nodes to the next
//   height, width  int, pixels of the picture
//   most     float: what is given is a share of it, clipped to 0 .. 1; 0: what the patches hold
//   canvas   (photos, CHANNELS, height, width) float, written
extern "C" __global__ void __launch_bounds__(WARPS * LANES, 1)
cut(const float* patches, const int* rows, const int* columns, int down, int across, int behind, int height, int width,
    float most, float* canvas) {
    SHARED(float, error, WARPS * CELLS);             // squared differences from what is there, where patches overlap
    SHARED(float, cost, WARPS * 4 * LINE);           // of the cheapest paths to a seam's row and to the one before, by turns
    SHARED(uint8, came, WARPS * 2 * CELLS);          // the column that such a path has in the row before
    SHARED(uint8, path, WARPS * 2 * PATCH);          // the column of each seam in every row
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int seam = lane / HALF, part = lane % HALF, area = height * width;
    const int errors = warp * CELLS, costs = (2 * warp + seam) * 2 * LINE, mine = (2 * warp + seam) * CELLS;
    const int left = 2 * warp * PATCH, top = left + PATCH, ours = seam ? top : left;
    float* const picture = canvas + (int64)blockIdx.x * CHANNELS * area;
    for (int wave = 0; wave < across + behind * (down - 1); ++wave) {
        const int last = min(down - 1, wave / behind);
        for (int r = max(0, (wave - across + behind) / behind) + warp; r <= last; r += WARPS) {
            const int c = wave - behind * r, y = rows[r], x = columns[c];
            const int beside = c ? max(0, PATCH - (x - columns[c - 1])) : 0;
            const int above = r ? max(0, PATCH - (y - rows[r - 1])) : 0;
            const float* const patch = patches + ((int64)blockIdx.x * down * across + r * across + c) * CHANNELS * CELLS;
            float* const there = picture + y * width + x;
            for (int cell = lane; cell < CELLS; cell += LANES) {
                const int row = cell / PATCH, column = cell % PATCH;
                if (column >= beside && row >= above) continue;
                float total = 0;
                for (int channel = 0; channel < CHANNELS; ++channel) {
                    const float apart = there[channel * area + row * width + column] - patch[channel * CELLS + cell];
                    total += apart * apart;
                }
                error[errors + cell] = total;
            }
            __syncwarp();  // until the errors are there
            // Rows of the seam above are columns of the patch. A line of costs has an infinite one at both of its ends.
            const int overlap = seam ? above : beside, along = seam ? 1 : PATCH, aside = seam ? PATCH : 1;
            if (part < 4) cost[costs + part / 2 * LINE + (part % 2 ? overlap + 1 : 0)] = INFINITE;
            for (int column = part; column < overlap; column += HALF) cost[costs + column + 1] = error[errors + column * aside];
            __syncwarp();  // until the first line of costs is there
            for (int row = 1; row < PATCH; ++row) {
                const int now = costs + row % 2 * LINE, before = costs + (row + 1) % 2 * LINE;
#pragma unroll 1
                for (int column = part; column < overlap; column += HALF) {
                    const float middle = cost[before + column + 1], right = cost[before + column + 2];
                    float least = cost[before + column];
                    int from = column - 1;
                    if (middle < least) {  // ties go to the lowest column
                        least = middle;
                        from = column;
                    }
                    if (right < least) {
                        least = right;
                        from = column + 1;
                    }
                    cost[now + column + 1] = error[errors + row * along + column * aside] + least;
                    came[mine + row * PATCH + column] = (uint8)from;
                }
                __syncwarp();  // until the row's costs are there
            }
            if (part == 0) {
                const int end = costs + (PATCH - 1) % 2 * LINE + 1;
                int at = 0;
                float least = cost[end];
                for (int column = 1; column < overlap; ++column) {
                    const float here = cost[end + column];
                    if (here < least) {
                        least = here;
                        at = column;
                    }
                }
                path[ours + PATCH - 1] = (uint8)at;
                for (int row = PATCH - 1; row > 0; --row) {
                    if (overlap > 0) at = came[mine + row * PATCH + at];
                    path[ours + row - 1] = (uint8)at;
                }
            }
            __syncwarp();  // until the paths are there
            for (int cell = lane; cell < CELLS; cell += LANES) {
                const int row = cell / PATCH, column = cell % PATCH;
                if (column < path[left + row] || row < path[top + column]) continue;
                for (int channel = 0; channel < CHANNELS; ++channel)
                    there[channel * area + row * width + column] = patch[channel * CELLS + cell];
            }
        }
        __syncthreads();  // until the wave is laid
    }
    for (int pixel = threadIdx.x; most > 0 && pixel < CHANNELS * area; pixel += WARPS * LANES)
        picture[pixel] = share_of(picture[pixel], most);
}
