// Exact patch matching on tensor cores: |p - q|^2 = |p|^2 - 2 p.q + |q|^2, all of them integers, the products by mma.
//
// A warp owns one node of the grid for 8 * GROUPS photos: their patches stay in its registers, four bytes a word. Its
// lanes go through the places of the node's window in all images of a tile, sixteen at a time: the sixteen rows of an
// mma. The bank's bytes lie in the tile in four versions, each one byte further along, so that a patch begins at a whole
// word wherever it lies; words of one patch are tapped four pixel rows at a time, one a lane, which the tile's pitch
// spreads over all banks of shared memory. |q|^2 is the same for all that a list compares, so that lists and limits do
// without it: it is added at the end.
//
// A window's places are numbered through all images, in the order of (image, row, column): a list keeps numbers.
// The K nearest of a photo are a list in shared memory whose entry e only lane e of its warp touches: a warp inserts
// with shuffles, and nothing is shared. What can enter is found against a limit in registers, the list's last entry:
// places come in the order of their numbers, so that one as far as the last entry comes after it and cannot enter. Where
// images are flat nearly all places are that far.
//
// After common.cuh, pixels.cuh and tensor.cuh (variants.py puts the files together). Compiled anew for every setting:
// PATCH, STEP, RADIUS, PLANES, KEPT (K, at most LANES), HEIGHT, WIDTH, PITCH, UNIT (1 if all weights are 1), and the
// geometry that variants.py chooses: GROUPS (of eight photos), DOWN and ACROSS (nodes of a block; a warp a node), IMAGES
// (of a tile), BLOCKS (so many must be able to be resident, which bounds the registers), ROW and VERSION (words of a
// tile's row, and from one version to the next).

typedef unsigned long long uint64;

constexpr int SIDE = 2 * RADIUS + 1;             // shifts along an axis
constexpr int WORDS = (PATCH + 3) / 4;           // of one pixel row of a patch
constexpr int TAPS = PATCH * WORDS;              // words of a patch; tap: word * PATCH + row
constexpr int STEPS = (TAPS + 7) / 8;            // products of a plane, 32 bytes each
constexpr int SLOTS = 2 * STEPS;                 // words of a lane and plane: every fourth tap
constexpr int WARPS = DOWN * ACROSS;
constexpr int THREADS = LANES * WARPS;
constexpr int COLUMNS = 8 * GROUPS;              // photos of a warp
constexpr int TALL = (DOWN - 1) * STEP + SIDE;   // places of a block's windows together, down and across
constexpr int WIDE = (ACROSS - 1) * STEP + SIDE;
constexpr int TILE_ROWS = TALL + PATCH - 1;
constexpr int PLANE_TILE = 4 * VERSION;
constexpr int IMAGE_TILE = PLANES * PLANE_TILE;
constexpr int PLACES = IMAGES * TALL * WIDE;     // and one more, that is nowhere
constexpr int JOBS = IMAGES * SIDE * SIDE;       // places that a warp compares in a tile; and one more, to pass the time
constexpr int STRIP = 8;                         // places below each other whose |p|^2 one thread sums
constexpr int STRIPS = (TALL + STRIP - 1) / STRIP;
constexpr uint32 TAIL = PATCH % 4 ? (1u << 8 * (PATCH % 4)) - 1u : FULL;  // the bytes of a row's last word that count

// Distances are at most 2^29 (variants.py sees to it), and so are |p|^2 and p.q.
constexpr int OPEN = (1 << 29) + 1;              // limit of a list that is not full: everything enters
constexpr int ABSENT = 0x7fffffff;               // |p|^2 of a place that is nowhere: nothing enters
constexpr int NOBODY = -0x7fffffff - 1;          // limit of a photo that is not there: nothing enters
constexpr uint32 SIGN = 0x80000000u;             // turns the order of int into that of uint32

// A block: DOWN x ACROSS nodes, 8 * GROUPS photos, one of ``splits`` runs of the images.
// Blocks (nodes of the grid / those of a block, photos / those of a block, splits) of LANES * DOWN * ACROSS threads.
//   bank          (images, PLANES, HEIGHT, PITCH) uint8
//   images        int
//   query         (photos, PLANES, HEIGHT, PITCH) uint8
//   photos        int
//   rows          (row_count) int32, the first pixel row of every row of patches
//   row_count     int
//   columns       (column_count) int32, the first pixel column of every column of patches
//   column_count  int
//   barred        (photos, images) uint8, 1: the photo must not use the image
//   weights       (PLANES) uint32, not read if UNIT
//   splits        int
//   distances     (splits, photos, row_count * column_count, KEPT) uint32, written, ascending
//   places        the same shape, uint32, written: (image * HEIGHT + row) * WIDTH + column
extern "C" __global__ void __launch_bounds__(LANES * DOWN * ACROSS, BLOCKS)
match_tensor(const uint8* bank, int images, const uint8* query, int photos, const int* rows, int row_count,
             const int* columns, int column_count, const uint8* barred, const uint32* weights, int splits,
             uint32* distances, uint32* places) {
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, g = lane >> 2, t = lane & 3;
    const int blocks_across = (column_count + ACROSS - 1) / ACROSS;
    const int first_row = blockIdx.x / blocks_across * DOWN, first_column = blockIdx.x % blocks_across * ACROSS;
    const int first_photo = blockIdx.y * COLUMNS;
    const int begin = (int)((int64)images * blockIdx.z / splits);
    const int end = (int)((int64)images * (blockIdx.z + 1) / splits);
    const int my_row = first_row + warp / ACROSS, my_column = first_column + warp % ACROSS;
    const bool spare = my_row >= row_count || my_column >= column_count;  // repeats another node, unwritten
    const int anchor_row = rows[min(my_row, row_count - 1)], anchor_column = columns[min(my_column, column_count - 1)];
    const int top = rows[first_row] - RADIUS, left = columns[first_column] - RADIUS;  // the tile's first place
    const int skew = left & 3;                                                        // and its bytes into a word

    SHARED(uint32, tile, IMAGES * IMAGE_TILE);            // [image][plane][version][row][word]
    SHARED(int, squares, PLACES + 1);                     // |p|^2 of every place
    SHARED(uint32, jobs, WARPS * (JOBS + 1));             // of each warp: byte in the tile, byte in ``squares`` << 16
    SHARED(uint64, lists, WARPS * COLUMNS * KEPT);        // of each warp and photo: (|p|^2 - 2 p.q) ^ SIGN, number

    const int own_jobs = warp * (JOBS + 1);
    for (int job = lane; job <= JOBS; job += LANES) {
        const int image = job / (SIDE * SIDE);
        const int down = job / SIDE % SIDE + anchor_row - RADIUS - top;
        const int across = job % SIDE + anchor_column - RADIUS - left, byte = skew + across;
        const uint32 word = image * IMAGE_TILE + (byte & 3) * VERSION + down * ROW + (byte >> 2);
        const uint32 place = (image * TALL + down) * WIDE + across;
        jobs[own_jobs + job] = job < JOBS ? place << 18 | word << 2 : (uint32)PLACES << 18;
    }
    if (threadIdx.x == 0) squares[PLACES] = ABSENT;
    if (lane < KEPT)
        for (int column = 0; column < COLUMNS; ++column) lists[(warp * COLUMNS + column) * KEPT + lane] = ~0ull;

    uint32 own[GROUPS][PLANES][SLOTS];  // the photos' patches, as mma takes them
    int taps[SLOTS], limit[GROUPS][2];  // bytes from a place's first; of the photos 2 t and 2 t + 1 of a group
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int tap = 4 * slot + t, word = tap / PATCH, down = tap % PATCH;
        taps[slot] = tap < TAPS ? 4 * (down * ROW + word) : 0;  // beyond the patch: by zeros
#pragma unroll
        for (int group = 0; group < GROUPS; ++group) {
            const int photo = first_photo + 8 * group + g;
#pragma unroll
            for (int plane = 0; plane < PLANES; ++plane) {
                uint32 level = 0;
                if (tap < TAPS && photo < photos)
                    level = aligned_word(image_row(query, photo, plane, anchor_row + down), anchor_column + 4 * word);
                own[group][plane][slot] = word == WORDS - 1 ? level & TAIL : level;
            }
        }
    }
#pragma unroll
    for (int group = 0; group < GROUPS; ++group)
#pragma unroll
        for (int side = 0; side < 2; ++side)
            limit[group][side] = first_photo + 8 * group + 2 * t + side < photos ? OPEN : NOBODY;

    // Put one place into a list: all lanes give the same. Gives the value of the list's last entry.
    auto insert = [&](int column, int value, uint32 number) {
        const uint64 key = (uint64)((uint32)value ^ SIGN) << 32 | number;
        const int at = (warp * COLUMNS + column) * KEPT + lane;
        uint64 mine = ~0ull;
        if (lane < KEPT) mine = lists[at];
        const uint64 before = __shfl_up_sync(FULL, mine, 1);
        mine = mine < key ? mine : lane == 0 || before < key ? key : before;
        if (lane < KEPT) lists[at] = mine;
        return (int)(__shfl_sync(FULL, (uint32)(mine >> 32), KEPT - 1) ^ SIGN);
    };

    for (int first = begin; first < end; first += IMAGES) {
        const int count = min(IMAGES, end - first);
        __syncthreads();  // until every warp has used the last tile
        for (int item = threadIdx.x; item < count * PLANES * TILE_ROWS * ROW; item += THREADS) {
            const int word = item % ROW, row = item / ROW % TILE_ROWS, rest = item / ROW / TILE_ROWS;
            const int y = top + row, from = (left >> 2) + word;
            uint32 low = 0, high = 0;
            if (y >= 0 && y < HEIGHT) {
                const uint32* source = image_row(bank, first + rest / PLANES, rest % PLANES, y);
                if (from >= 0 && from < PITCH_WORDS) low = source[from];
                if (from >= -1 && from < PITCH_WORDS - 1) high = source[from + 1];
            }
#pragma unroll
            for (int version = 0; version < 4; ++version)
                tile[rest * PLANE_TILE + version * VERSION + row * ROW + word] = __funnelshift_r(low, high, 8 * version);
        }
        __syncthreads();  // until the tile is there
        for (int item = threadIdx.x; item < count * STRIPS * WIDE; item += THREADS) {
            const int x = item % WIDE, start = item / WIDE % STRIPS * STRIP, image = item / WIDE / STRIPS;
            const int byte = skew + x, at = image * IMAGE_TILE + (byte & 3) * VERSION + (byte >> 2);
            auto row_square = [&](int row) {
                uint32 whole = 0;
#pragma unroll
                for (int plane = 0; plane < PLANES; ++plane) {
                    uint32 sum = 0;
#pragma unroll
                    for (int word = 0; word < WORDS; ++word) {
                        uint32 level = tile[at + plane * PLANE_TILE + row * ROW + word];
                        if (word == WORDS - 1) level &= TAIL;
                        sum = __dp4a(level, level, sum);
                    }
                    whole += UNIT ? sum : weights[plane] * sum;
                }
                return whole;
            };
            uint32 sum = 0;
#pragma unroll 1
            for (int row = start; row < start + PATCH; ++row) sum += row_square(row);
#pragma unroll 1
            for (int y = start; y < min(start + STRIP, TALL); ++y) {
                const bool inside = top + y >= 0 && top + y <= HEIGHT - PATCH && left + x >= 0 && left + x <= WIDTH - PATCH;
                squares[(image * TALL + y) * WIDE + x] = inside ? (int)sum : ABSENT;
                if (y + 1 < TALL) sum += row_square(y + PATCH) - row_square(y);
            }
        }
        __syncthreads();  // until the squares are there

        const int here = count * SIDE * SIDE;
        const uint32 numbers = (uint32)first * (SIDE * SIDE);
        bool bars = false;  // any at all, of these photos and images: mostly none
        for (int item = lane; item < COLUMNS * count; item += LANES) {
            const int photo = first_photo + item % COLUMNS;
            if (photo < photos) bars |= barred[(int64)photo * images + first + item / COLUMNS] != 0;
        }
        bars = __any_sync(FULL, bars);
#pragma unroll 1
        for (int start = 0; start < here; start += 16) {
            uint32 job[2];
            int square[2], sums[GROUPS][4] = {};
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int number = start + 8 * half + g;
                job[half] = jobs[own_jobs + (number < here ? number : JOBS)];
                square[half] = (int)WORD_AT(squares, job[half] >> 16);
                job[half] &= 0xffffu;
            }
#pragma unroll
            for (int plane = 0; plane < PLANES; ++plane) {
                int products[GROUPS][4] = {};
#pragma unroll
                for (int step = 0; step < STEPS; ++step) {
                    uint32 theirs[4];
#pragma unroll
                    for (int part = 0; part < 4; ++part)
                        theirs[part] = WORD_AT(tile, job[part % 2] + taps[2 * step + part / 2] + 4 * plane * PLANE_TILE);
#pragma unroll
                    for (int group = 0; group < GROUPS; ++group) {
                        const uint32 ours[2] = {own[group][plane][2 * step], own[group][plane][2 * step + 1]};
                        multiply_bytes(UNIT ? sums[group] : products[group], theirs, ours);
                    }
                }
                if (!UNIT) {
                    const int weight = (int)weights[plane];
#pragma unroll
                    for (int group = 0; group < GROUPS; ++group)
#pragma unroll
                        for (int part = 0; part < 4; ++part) sums[group][part] += weight * products[group][part];
                }
            }
#pragma unroll
            for (int group = 0; group < GROUPS; ++group) {
                bool any = false;
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    sums[group][part] = square[part / 2] - 2 * sums[group][part];
                    any |= sums[group][part] < limit[group][part % 2];
                }
                if (!__any_sync(FULL, any)) continue;
#pragma unroll 1
                for (int part = 0; part < 4; ++part) {  // a loop, for what is seldom done: its code would be the most of all
                    const int value = sums[group][0], side = part & 1, number = start + 8 * (part >> 1);
#pragma unroll
                    for (int next = 0; next < 3; ++next) sums[group][next] = sums[group][next + 1];
                    int within = side ? limit[group][1] : limit[group][0];
                    bool enters = value < within;
                    if (bars && enters) {
                        const int photo = first_photo + 8 * group + 2 * t + side, image = (number + g) / (SIDE * SIDE);
                        enters = !barred[(int64)photo * images + first + image];
                    }
                    uint32 waiting = __ballot_sync(FULL, enters);
                    while (waiting) {
                        const int from = __ffs(waiting) - 1;
                        waiting &= waiting - 1;
                        const int given = __shfl_sync(FULL, value, from);
                        const int last = insert(8 * group + 2 * (from & 3) + side, given, numbers + number + (from >> 2));
                        if (t == (from & 3)) within = min(last, OPEN);
                    }
                    limit[group][0] = side ? limit[group][0] : within;
                    limit[group][1] = side ? within : limit[group][1];
                }
            }
        }
    }

    const int64 node = (int64)my_row * column_count + my_column, nodes = (int64)row_count * column_count;
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
        uint32 norm = 0;  // |q|^2 of photo g of the group
#pragma unroll
        for (int plane = 0; plane < PLANES; ++plane) {
            uint32 sum = 0;
#pragma unroll
            for (int slot = 0; slot < SLOTS; ++slot) sum = __dp4a(own[group][plane][slot], own[group][plane][slot], sum);
            norm += UNIT ? sum : weights[plane] * sum;
        }
        norm += __shfl_sync(FULL, norm, lane ^ 1);
        norm += __shfl_sync(FULL, norm, lane ^ 2);
#pragma unroll 1
        for (int member = 0; member < 8; ++member) {
            const int photo = first_photo + 8 * group + member;
            const uint32 own_norm = __shfl_sync(FULL, norm, 4 * member);
            if (photo >= photos || spare || lane >= KEPT) continue;
            const uint64 key = lists[(warp * COLUMNS + 8 * group + member) * KEPT + lane];
            const int64 entry = (((int64)blockIdx.z * photos + photo) * nodes + node) * KEPT + lane;
            const uint32 number = (uint32)key, image = number / (SIDE * SIDE);
            const uint32 y = anchor_row - RADIUS + number / SIDE % SIDE, x = anchor_column - RADIUS + number % SIDE;
            distances[entry] = key == ~0ull ? WORST : ((uint32)(key >> 32) ^ SIGN) + own_norm;
            places[entry] = (image * HEIGHT + y) * WIDTH + x;
        }
    }
}
