// Exact patch matching by direct comparison: the K nearest bank patches of every query patch, in a window around it.
//
// A warp owns ROWS patches that stand one above the other. Its lanes take shifts of the search window, SHIFTS
// neighbours along a row each, in all images of a tile; a pixel row is compared once and counts for every patch of the
// warp that covers it, so that overlapping patches share their squared differences. Four pixels are one instruction:
// |a - b| on packed bytes, then a dot product with itself (__dp4a). The nearest are kept sorted across the lanes, in
// registers, and change by warp shuffles (nearest.cuh).
//
// After common.cuh, nearest.cuh and pixels.cuh (variants.py puts the files together). Compiled anew for every setting:
// PATCH, STEP, RADIUS, PLANES, KEPT (K), HEIGHT, WIDTH, PITCH, UNIT (1 if the only plane's weight is 1), and the
// geometry that variants.py chooses: ROWS and COLUMNS (patches of a block down and across; a warp a column), IMAGES
// (of a tile), BAND (vertical shifts that a tile serves), TILED (0: the window is read from global memory, for
// settings whose tile fits into no shared memory), SHIFTS (4: the bytes of a word), WARPS_PER_SM (so many must be able
// to be resident, which bounds the registers).

constexpr int SIDE = 2 * RADIUS + 1;               // shifts along an axis
constexpr int GROUPS = (SIDE + SHIFTS - 1) / SHIFTS;
constexpr int WORDS = (PATCH + 3) / 4;             // of one pixel row of a patch
constexpr int SPAN = (ROWS - 1) * STEP + PATCH;    // pixel rows that a warp's patches cover, at most
constexpr int REACH = (COLUMNS - 1) * STEP;        // pixels from the first patch of a block to the last, at most
constexpr int TILE_ROWS = SPAN + BAND - 1;
constexpr int TILE_WORDS = ((REACH + SHIFTS * (GROUPS - 1)) / 4 + WORDS + 2) | 1;  // odd: rows start in different banks
constexpr int TILE = TILE_ROWS * TILE_WORDS;
constexpr uint32 TAIL = PATCH % 4 ? (1u << 8 * (PATCH % 4)) - 1u : FULL;  // the bytes of a row's last word that count

// A block: ROWS patch rows and COLUMNS patch columns of one photo, one of ``splits`` runs of the images.
// Blocks (patches of the grid / those of a block, photos, splits) of LANES * COLUMNS threads.
//   bank          (images, PLANES, HEIGHT, PITCH) uint8
//   images        int
//   query         (photos, PLANES, HEIGHT, PITCH) uint8
//   rows          (row_count) int32, the first pixel row of every row of patches
//   row_count     int
//   columns       (column_count) int32, the first pixel column of every column of patches
//   column_count  int
//   barred        (photos, images) uint8, 1: the photo must not use the image
//   weights       (PLANES) uint32, not read if UNIT
//   splits        int
//   distances     (splits, photos, row_count * column_count, KEPT) uint32, written, ascending
//   places        the same shape, uint32, written: (image * HEIGHT + row) * WIDTH + column
extern "C" __global__ void __launch_bounds__(LANES * COLUMNS, WARPS_PER_SM / COLUMNS)
match_direct(const uint8* bank, int images, const uint8* query, const int* rows, int row_count, const int* columns,
             int column_count, const uint8* barred, const uint32* weights, int splits, uint32* distances,
             uint32* places) {
    const int blocks_across = (column_count + COLUMNS - 1) / COLUMNS;
    const int first_row = blockIdx.x / blocks_across * ROWS, first_column = blockIdx.x % blocks_across * COLUMNS;
    const int photo = blockIdx.y, split = blockIdx.z;
    const int begin = (int)((int64)images * split / splits), end = (int)((int64)images * (split + 1) / splits);
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int my_rows = min(ROWS, row_count - first_row);
    const int column = min(first_column + warp, column_count - 1);  // a spare warp repeats the last one, unwritten
    const int top = rows[first_row], left = columns[first_column], x = columns[column];
    const int span = rows[first_row + my_rows - 1] + PATCH - top;

    SHARED(uint32, ends, SPAN);  // by pixel row: 0 within a run of rows; at its last row, bit p: the run is in patch p
#if TILED
    SHARED(uint32, tile, IMAGES * PLANES * TILE);
    SHARED(uint32, own, COLUMNS * PLANES * SPAN * WORDS);  // the query's pixel rows, of each warp
#endif
    for (int row = threadIdx.x; row < span; row += LANES * COLUMNS) {
        uint32 covering = 0;
        bool last = row + 1 == span;
        for (int patch = 0; patch < my_rows; ++patch) {
            const int start = rows[first_row + patch] - top;
            covering |= row >= start && row < start + PATCH ? 1u << patch : 0u;
            last |= row + 1 == start || row + 1 == start + PATCH;
        }
        ends[row] = last ? covering | 0x80000000u : 0u;
    }
#if TILED
    for (int word = threadIdx.x; word < COLUMNS * PLANES * span * WORDS; word += LANES * COLUMNS) {
        const int part = word % WORDS, row = word / WORDS % span, rest = word / WORDS / span;
        const int plane = rest % PLANES, which = min(first_column + rest / PLANES, column_count - 1);
        const uint32 level = aligned_word(image_row(query, photo, plane, top + row), columns[which] + 4 * part);
        own[(rest * SPAN + row) * WORDS + part] = part == WORDS - 1 ? level & TAIL : level;
    }
#endif

    Nearest<uint32> nearest[ROWS];
#pragma unroll
    for (int patch = 0; patch < ROWS; ++patch) nearest[patch].clear();

    for (int first = begin; first < end; first += IMAGES) {
        const int count = min(IMAGES, end - first);
        for (int band = -RADIUS; band <= RADIUS; band += BAND) {
            __syncthreads();  // until every warp has used the last tile
#if TILED
            for (int word = threadIdx.x; word < count * PLANES * TILE; word += LANES * COLUMNS) {
                const int part = word % TILE_WORDS, row = word / TILE_WORDS % TILE_ROWS, rest = word / TILE;
                const int y = top + band + row;
                uint32 level = 0;
                if (y >= 0 && y < HEIGHT)
                    level = aligned_word(image_row(bank, first + rest / PLANES, rest % PLANES, y),
                                         left - RADIUS + 4 * part);
                tile[word] = level;
            }
            __syncthreads();
#endif
            const int jobs = count * BAND * GROUPS;
            for (int start = 0; start < jobs; start += LANES) {
                const int job = min(start + lane, jobs - 1);  // no lane leaves: the shuffles need all
                const int group = job % GROUPS, down = job / GROUPS % BAND, image = job / GROUPS / BAND;
                const int dy = band + down, dx = SHIFTS * group - RADIUS;
                uint32 run[SHIFTS], total[ROWS][SHIFTS];
#pragma unroll
                for (int shift = 0; shift < SHIFTS; ++shift) {
                    run[shift] = 0;
#pragma unroll
                    for (int patch = 0; patch < ROWS; ++patch) total[patch][shift] = 0;
                }
#pragma unroll 1
                for (int row = 0; row < span; ++row) {
#pragma unroll 1
                    for (int plane = 0; plane < PLANES; ++plane) {
                        uint32 level[WORDS + 1], mine[WORDS];
#if TILED
                        const int byte = x - left + SHIFTS * group;
                        const int at = (image * PLANES + plane) * TILE + (row + down) * TILE_WORDS + (byte >> 2);
#pragma unroll
                        for (int word = 0; word <= WORDS; ++word)
                            level[word] = __funnelshift_r(tile[at + word], tile[at + word + 1], 8 * (byte & 3));
#pragma unroll
                        for (int word = 0; word < WORDS; ++word)
                            mine[word] = own[((warp * PLANES + plane) * SPAN + row) * WORDS + word];
#else
                        const int y = min(max(top + row + dy, 0), HEIGHT - 1);  // beyond it no shift is valid
                        const uint32* theirs = image_row(bank, first + image, plane, y);
                        const uint32* ours = image_row(query, photo, plane, top + row);
#pragma unroll
                        for (int word = 0; word <= WORDS; ++word) level[word] = aligned_word(theirs, x + dx + 4 * word);
#pragma unroll
                        for (int word = 0; word < WORDS; ++word) mine[word] = aligned_word(ours, x + 4 * word);
                        mine[WORDS - 1] &= TAIL;
#endif
#pragma unroll
                        for (int shift = 0; shift < SHIFTS; ++shift) {
                            uint32 squares = UNIT ? run[shift] : 0u;
#pragma unroll
                            for (int word = 0; word < WORDS; ++word) {
                                uint32 theirs = __funnelshift_r(level[word], level[word + 1], 8 * shift);
                                if (word == WORDS - 1) theirs &= TAIL;
                                const uint32 apart = __vabsdiffu4(theirs, mine[word]);
                                squares = __dp4a(apart, apart, squares);
                            }
                            run[shift] = UNIT ? squares : run[shift] + weights[plane] * squares;
                        }
                    }
                    const uint32 covering = ends[row];
                    if (covering) {
#pragma unroll
                        for (int shift = 0; shift < SHIFTS; ++shift) {
#pragma unroll
                            for (int patch = 0; patch < ROWS; ++patch)
                                total[patch][shift] += covering >> patch & 1u ? run[shift] : 0u;
                            run[shift] = 0;
                        }
                    }
                }
                const bool free = start + lane < jobs && dy <= RADIUS && !barred[(int64)photo * images + first + image];
#pragma unroll
                for (int patch = 0; patch < ROWS; ++patch) {
                    if (patch < my_rows) {
                        const int y = rows[first_row + patch] + dy;
#pragma unroll
                        for (int shift = 0; shift < SHIFTS; ++shift) {
                            const int z = x + dx + shift;
                            const bool inside = y >= 0 && y <= HEIGHT - PATCH && z >= 0 && z <= WIDTH - PATCH;
                            const uint32 place = ((uint32)(first + image) * HEIGHT + (uint32)y) * WIDTH + (uint32)z;
                            nearest[patch].offer(free && inside && dx + shift <= RADIUS, total[patch][shift], place);
                        }
                    }
                }
            }
        }
    }

    if (first_column + warp < column_count) {
#pragma unroll
        for (int patch = 0; patch < ROWS; ++patch) {
            if (patch < my_rows) {
                const int64 node = (int64)(first_row + patch) * column_count + column;
                const int64 list = (((int64)split * gridDim.y + photo) * row_count * column_count + node) * KEPT;
#pragma unroll
                for (int slot = 0; slot < SLOTS; ++slot) {
                    const int entry = slot * LANES + lane;
                    if (entry < KEPT) {
                        distances[list + entry] = nearest[patch].distance[slot];
                        places[list + entry] = nearest[patch].place[slot];
                    }
                }
            }
        }
    }
}
