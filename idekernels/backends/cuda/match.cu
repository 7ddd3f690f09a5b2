// Exact patch matching: K nearest bank patches of every query patch, in a window; and the merging of such lists.
//
// A warp owns ROWS patches that stand one above the other. Its lanes take shifts of the search window, four neighbouring
// horizontal ones each, in all images of a tile; a row of the patch is compared once and counts for every patch of the
// warp that covers it, so that overlapping patches share their squared differences. Four pixels are one instruction:
// |a - b| on packed bytes, then a dot product with itself (__dp4a). The nearest are kept sorted across the lanes, in
// registers, and change by warp shuffles. Ties go to the lower place, so that no order of work changes a result.
//
// Compiled anew for every setting: PATCH, STEP, RADIUS, PLANES, KEPT (K), HEIGHT, WIDTH, PITCH (bytes of an image row in
// memory, a multiple of 4), UNIT (1 if the only plane's weight is 1), and the geometry that launch.py chooses: ROWS and
// COLUMNS (patches of a block down and across; a warp a column), IMAGES (a tile's), BAND (vertical shifts a tile serves),
// TILED (0: the window is read from global memory, for settings whose tile fits into no shared memory).

#ifndef SHARED
#define SHARED(type, name, count) __shared__ type name[count]
#endif

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef long long int64;

constexpr uint32 FULL = 0xffffffffu;
constexpr uint32 WORST = 0xffffffffu;
constexpr int LANES = 32;
constexpr int SHIFTS = 4;                          // horizontal shifts of a lane
constexpr int SIDE = 2 * RADIUS + 1;               // shifts along an axis
constexpr int GROUPS = (SIDE + SHIFTS - 1) / SHIFTS;
constexpr int WORDS = (PATCH + 3) / 4;             // of a patch's row
constexpr int SPAN = (ROWS - 1) * STEP + PATCH;    // pixel rows of a warp's patches, at most
constexpr int REACH = (COLUMNS - 1) * STEP;        // from the first patch of a block to the last, at most
constexpr int TILE_ROWS = SPAN + BAND - 1;
constexpr int TILE_WORDS = ((REACH + SHIFTS * (GROUPS - 1)) / 4 + WORDS + 2) | 1;  // odd: rows start in other banks
constexpr int TILE = TILE_ROWS * TILE_WORDS;
constexpr int SLOTS = (KEPT + LANES - 1) / LANES;  // kept patches of a lane
constexpr int PITCH_WORDS = PITCH / 4;
constexpr uint32 TAIL = PATCH % 4 ? (1u << 8 * (PATCH % 4)) - 1u : FULL;  // the bytes of a row's last word that count

__device__ __forceinline__ uint32 aligned_word(const uint32* row, int byte) {
    // Four bytes from any byte of an image row on; zeros beyond its ends.
    const int word = byte >> 2, apart = 8 * (byte & 3);
    const uint32 low = word >= 0 && word < PITCH_WORDS ? row[word] : 0u;
    const uint32 high = word + 1 >= 0 && word + 1 < PITCH_WORDS ? row[word + 1] : 0u;
    return __funnelshift_r(low, high, apart);
}

__device__ __forceinline__ const uint32* image_row(const uint8* images, int64 image, int plane, int row) {
    return reinterpret_cast<const uint32*>(images + ((image * PLANES + plane) * HEIGHT + row) * (int64)PITCH);
}

// The kept patches of one query: entry e lies in slot e / 32 of lane e % 32, ascending by (distance, place).
template <typename Place>
struct Nearest {
    uint32 distance[SLOTS];
    Place place[SLOTS];
    uint32 worst;      // the KEPT-th entry, known to all lanes
    Place worst_place;

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            distance[slot] = WORST;
            place[slot] = ~Place(0) > Place(0) ? ~Place(0) : Place(0x7fffffffffffffffLL);
        }
        worst = WORST;
        worst_place = place[0];
    }

    __device__ __forceinline__ bool accepts(uint32 found, Place where) const {
        return found < worst || (found == worst && where < worst_place);
    }

    __device__ __forceinline__ void insert(uint32 found, Place where) {
        // All lanes with the same patch.
        const int lane = threadIdx.x % LANES;
#pragma unroll
        for (int slot = SLOTS - 1; slot >= 0; --slot) {
            uint32 before = __shfl_up_sync(FULL, distance[slot], 1);
            Place before_place = __shfl_up_sync(FULL, place[slot], 1);
            if (slot > 0) {
                const uint32 carried = __shfl_sync(FULL, distance[slot > 0 ? slot - 1 : 0], LANES - 1);
                const Place carried_place = __shfl_sync(FULL, place[slot > 0 ? slot - 1 : 0], LANES - 1);
                before = lane == 0 ? carried : before;
                before_place = lane == 0 ? carried_place : before_place;
            }
            const bool stays = distance[slot] < found || (distance[slot] == found && place[slot] < where);
            const bool first = slot == 0 && lane == 0;
            const bool here = first || before < found || (before == found && before_place < where);
            distance[slot] = stays ? distance[slot] : here ? found : before;
            place[slot] = stays ? place[slot] : here ? where : before_place;
        }
        worst = __shfl_sync(FULL, distance[SLOTS - 1], (KEPT - 1) % LANES);
        worst_place = __shfl_sync(FULL, place[SLOTS - 1], (KEPT - 1) % LANES);
    }

    __device__ __forceinline__ void offer(bool good, uint32 found, Place where) {
        // Every lane offers one patch, good or not.
        uint32 better = __ballot_sync(FULL, good && accepts(found, where));
        while (better) {
            const int lane = __ffs(better) - 1;
            better &= better - 1;
            const uint32 given = __shfl_sync(FULL, found, lane);
            const Place given_place = __shfl_sync(FULL, where, lane);
            if (accepts(given, given_place)) insert(given, given_place);
        }
    }
};

// bank (images, PLANES, HEIGHT, PITCH), query (photos, PLANES, HEIGHT, PITCH), barred (photos, images): 1 for images that
// a photo must not use, weights (PLANES). A block: COLUMNS patch columns, ROWS patch rows, one photo, one of ``splits``
// runs of images. Results (splits, photos, nodes, KEPT), place = (image * HEIGHT + row) * WIDTH + column.
extern "C" __global__ void __launch_bounds__(LANES * COLUMNS, 16 / COLUMNS)  // 16 warps an SM: 128 registers at most
match(const uint8* bank, int images, const uint8* query, const int* rows, int row_count, const int* columns,
      int column_count, const uint8* barred, const uint32* weights, int splits, uint32* distances, uint32* places) {
    const int blocks_across = (column_count + COLUMNS - 1) / COLUMNS;
    const int first_row = blockIdx.x / blocks_across * ROWS, first_column = blockIdx.x % blocks_across * COLUMNS;
    const int photo = blockIdx.y, split = blockIdx.z;
    const int begin = (int)((int64)images * split / splits), end = (int)((int64)images * (split + 1) / splits);
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int my_rows = min(ROWS, row_count - first_row);
    const int column = min(first_column + warp, column_count - 1);  // a spare warp repeats the last one, unwritten
    const int top = rows[first_row], left = columns[first_column], x = columns[column];
    const int span = rows[first_row + my_rows - 1] + PATCH - top;

    SHARED(uint32, ends, SPAN);  // per pixel row: which patches the rows since the last such end count for; 0: go on
#if TILED
    SHARED(uint32, tile, IMAGES * PLANES * TILE);
    SHARED(uint32, own, COLUMNS * PLANES * SPAN * WORDS);  // the query's rows, of each warp
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
            __syncthreads();  // the last tile has been used
#if TILED
            for (int word = threadIdx.x; word < count * PLANES * TILE; word += LANES * COLUMNS) {
                const int part = word % TILE_WORDS, row = word / TILE_WORDS % TILE_ROWS, rest = word / TILE;
                const int y = top + band + row;
                uint32 level = 0;
                if (y >= 0 && y < HEIGHT)
                    level = aligned_word(image_row(bank, first + rest / PLANES, rest % PLANES, y), left - RADIUS + 4 * part);
                tile[word] = level;
            }
            __syncthreads();
#endif
            const int jobs = count * BAND * GROUPS;
            for (int start = 0; start < jobs; start += LANES) {
                const int job = min(start + lane, jobs - 1);  // every lane goes through, for the shuffles at the end
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

// Merge ``splits`` lists of every query, whose images begin with number ``first``, into its running list, (queries, KEPT)
// each, places now over the whole bank. One warp a query; in the running list WORST distances are empty entries.
extern "C" __global__ void __launch_bounds__(LANES)
merge(const uint32* distances, const uint32* places, int splits, int queries, int64 first, uint32* distance, int64* place) {
    const int lane = threadIdx.x, query = blockIdx.x;
    Nearest<int64> nearest;
    nearest.clear();
    for (int split = -1; split < splits; ++split) {
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int entry = slot * LANES + lane;
            const int64 own = (int64)query * KEPT + entry, theirs = ((int64)split * queries + query) * KEPT + entry;
            uint32 found = WORST;
            int64 where = 0;
            if (entry < KEPT) {
                found = split < 0 ? distance[own] : distances[theirs];
                where = split < 0 ? place[own] : first * HEIGHT * WIDTH + places[theirs];
            }
            nearest.offer(found != WORST, found, where);
        }
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int entry = slot * LANES + lane;
        if (entry < KEPT) {
            distance[(int64)query * KEPT + entry] = nearest.distance[slot];
            place[(int64)query * KEPT + entry] = nearest.place[slot];
        }
    }
}
