// Exact patch matching on tensor cores: |p - q|^2 = |p|^2 - 2 p.q + |q|^2, all of them integers, the products by mma.
//
// A warp owns one node of the grid for 8 * GROUPS photos: their patches stay in its registers, four bytes a word. It goes
// through the places of the node's window in all images of a tile, sixteen at a time: the sixteen rows of an mma. The
// bank's bytes lie in the tile in four versions, each one byte further along, so that a patch begins at a whole word
// wherever it lies; words of one patch are tapped four pixel rows at a time, one a lane, which the tile's pitch spreads
// over all banks of shared memory. |q|^2 is the same for all that a list compares, so that lists and limits do without
// it: it is added at the end.
//
// A window's places are numbered through all images, in the order of (image, row, column): a list keeps numbers.
// A place may enter the list of a photo if its value |p|^2 - 2 p.q is below the list's limit, the value of its last
// entry: numbers ascend, so that a place as far as the last entry comes after it. (Where images are flat nearly all are
// that far.) The products start from half of the limit, rounded up, and a place is looked at where they come out above
// half of its |p|^2. What may enter waits in a queue, until all lanes together put it into the lists, a list a lane.
//
// The first limits: every SAMPLE-th tile is gone through once before, for the nearest place of each of the sixteen rows.
// These are different places, so that the K-th nearest of them is no nearer than the K-th of all.
//
// After common.cuh, pixels.cuh and tensor.cuh (variants.py puts the files together). Compiled anew for every setting:
// PATCH, STEP, RADIUS, PLANES, KEPT (K, at most LANES), HEIGHT, WIDTH, PITCH, UNIT (1 if all weights are 1), and the
// geometry that variants.py chooses: GROUPS (of eight photos), DOWN and ACROSS (nodes of a block; a warp a node), IMAGES
// (of a tile), SAMPLE (tiles a tile for the first limits; 0: none), QUEUE (places that wait, of a warp), BLOCKS (so many
// must be able to be resident, which bounds the registers), BUNCH (groups whose products are made together), ROW and
// VERSION (words of a tile's row, and from one version to the next).

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

constexpr int DEPTH = KEPT > 8 ? KEPT : 8;       // of a list, whose memory has sixteen values of 32 bits before
constexpr int ROOM = QUEUE - 128;                // a group has room in a queue that is no longer: 16 places, 8 photos
constexpr int ENOUGH = ROOM / 2;                 // waiting places that are put into their lists at once
constexpr int AT_ONCE = 16;                      // entries of a list that a lane holds
static_assert(SAMPLE == 0 || KEPT <= 16, "the first limits are of sixteen places");
static_assert(GROUPS % BUNCH == 0, "whole bunches");
constexpr int TOLD = BUNCH % 2 ? 1 : 2;            // groups that are asked together whether any place may enter
constexpr bool KEEP = BUNCH < GROUPS && PLANES * STEPS <= 4;  // words of places stay in registers for all bunches
static_assert(QUEUE > 128 && COLUMNS <= 64 && JOBS < 1 << 16, "what waits is a column and a number in a tile");

// Distances are at most 2^29 (variants.py sees to it), and so are |p|^2 and p.q.
constexpr int OPEN = (1 << 29) + 1;              // limit of a list that is not full: everything enters
constexpr int ABSENT = 0x7fffffff;               // |p|^2 of a place that is nowhere: nothing enters
constexpr int NOBODY = -0x7fffffff;              // limit of a photo that is not there: nothing enters
constexpr uint32 SIGN = 0x80000000u;             // turns the order of int into that of uint32

// Bytes from a place's first word to the one of a slot and t. Slots whose four are alike but for a constant need but one
// register: their leader's.
__host__ __device__ constexpr int tap_byte(int slot, int t) {
    const int tap = 4 * slot + t;
    return tap < TAPS ? 4 * (tap % PATCH * ROW + tap / PATCH) : 0;  // beyond the patch: by zeros
}
struct Leaders {
    int of[SLOTS], apart[SLOTS];
};
__host__ __device__ constexpr Leaders find_leaders() {
    Leaders all = {};
    for (int slot = 0; slot < SLOTS; ++slot) {
        all.of[slot] = slot;
        for (int other = slot - 1; other >= 0; --other) {
            const int apart = tap_byte(slot, 0) - tap_byte(other, 0);
            bool alike = true;
            for (int t = 1; t < 4; ++t) alike = alike && tap_byte(slot, t) - tap_byte(other, t) == apart;
            if (alike) {
                all.of[slot] = other;
                all.apart[slot] = apart;
            }
        }
    }
    return all;
}

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
    SHARED(uint64, lists, WARPS * DEPTH * COLUMNS);       // of each warp, entry and photo: value ^ SIGN, number
    SHARED(uint64, queue, WARPS * QUEUE);                 // of each warp: value, photo << 16 | number in the tile
    SHARED(int, limits, WARPS * COLUMNS);                 // of each warp and photo
    SHARED_QUADS(starts, WARPS * 2 * COLUMNS);            // of photos 2 t and 2 t + 1: half of the limits, twice

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
    const int own_lists = warp * DEPTH * COLUMNS, own_queue = warp * QUEUE, own_limits = warp * COLUMNS;
    for (int item = lane; item < DEPTH * COLUMNS; item += LANES) lists[own_lists + item] = ~0ull;
    auto set_limit = [&](int column, int limit) {
        const int at = 2 * own_limits + 4 * (column / 2) + column % 2;
        limits[own_limits + column] = limit;
        starts[at] = starts[at + 2] = (uint32)((limit + 1) >> 1);
    };
    for (int item = lane; item < COLUMNS; item += LANES) set_limit(item, first_photo + item < photos ? OPEN : NOBODY);
    __syncwarp();

    uint32 own[GROUPS][PLANES][SLOTS];  // the photos' patches, as mma takes them
    int taps[SLOTS];                    // bytes from a place's first
    constexpr Leaders leaders = find_leaders();
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int tap = 4 * slot + t, word = tap / PATCH, down = tap % PATCH;
        taps[slot] = tap_byte(slot, t);
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
    auto lower_limit = [&](int column) {
        const int limit = (int)((uint32)(lists[own_lists + (KEPT - 1) * COLUMNS + column] >> 32) ^ SIGN);
        if (limit < limits[own_limits + column]) set_limit(column, limit);
    };

    // Put places into lists, one of every lane where ``any``; of the lanes ``alike`` into the same: several at once. A
    // lane that comes before others reads the whole list, and writes its place and the entries up to the next one's.
    auto insert_all = [&](bool any, int column, uint64 key, uint32 alike) {
        const int at = own_lists + column;
        int before = 0, less = 0, next = KEPT;  // entries and places that are nearer; entries nearer than the next place
#pragma unroll
        for (int entry = 0; entry < KEPT; ++entry)
            if (any) before += lists[at + entry * COLUMNS] < key;
#pragma unroll 1
        for (uint32 rest = alike; __any_sync(FULL, rest != 0); rest &= rest - 1) {
            const int other = rest ? __ffs(rest) - 1 : lane;
            const uint64 theirs = __shfl_sync(FULL, key, other);
            const int passed = __shfl_sync(FULL, before, other);
            less += theirs < key;
            if (theirs > key) next = min(next, passed);
        }
        uint64 kept[KEPT] = {};
#pragma unroll
        for (int entry = 0; entry < KEPT; ++entry)
            if (any) kept[entry] = lists[at + entry * COLUMNS];
        __syncwarp();  // until all lists are read
#pragma unroll
        for (int entry = 0; entry < KEPT; ++entry) {
            const int to = entry + less + 1;
            if (any && entry >= before && entry < next && to < KEPT) lists[at + to * COLUMNS] = kept[entry];
        }
        if (any && before + less < KEPT) lists[at + (before + less) * COLUMNS] = key;
        __syncwarp();  // until they are written
        if (any && less == 0) lower_limit(column);
    };

    // Put a place into a list: a lane for itself, no two of them for one list.
    auto insert = [&](int column, uint64 key) {
        const int at = own_lists + column;
        int entry = KEPT - 1;
        if (key >= lists[at + entry * COLUMNS]) return;
#pragma unroll 1
        for (; entry > 0; --entry) {
            const uint64 before = lists[at + (entry - 1) * COLUMNS];
            if (before < key) break;
            lists[at + entry * COLUMNS] = before;
        }
        lists[at + entry * COLUMNS] = key;
        lower_limit(column);
    };

    // Put all that waits into the lists.
    int waiting = 0;
    auto drain = [&](int first, uint32 bars) {
        __syncwarp();
#pragma unroll 1
        for (int start = 0; start < waiting; start += LANES) {
            bool any = start + lane < waiting;
            uint64 key = 0;
            int column = 0;
            if (any) {
                const uint64 entry = queue[own_queue + start + lane];
                column = (int)((uint32)entry >> 16);
                const uint32 number = (uint32)entry & 0xffffu, image = number / (SIDE * SIDE);
                key = (uint64)((uint32)(entry >> 32) ^ SIGN) << 32 | ((uint32)first * (SIDE * SIDE) + number);
                if (bars >> image & 1u) any = !barred[(int64)(first_photo + column) * images + first + image];
            }
            const uint32 alike = __match_any_sync(FULL, any ? column : COLUMNS + lane);
            if (KEPT <= AT_ONCE) {
                insert_all(any, column, key, alike);
            } else {  // longer lists do not fit into registers
                const int turn = __popc(alike & ((1u << lane) - 1u));  // lanes of one list come one after the other
#pragma unroll 1
                for (int now = 0; __any_sync(FULL, turn >= now); ++now) {
                    if (any && turn == now) insert(column, key);
                    __syncwarp();
                }
            }
        }
        waiting = 0;
        __syncwarp();
    };

    // Of sixteen places, g and g + 8 of a lane: bytes in the tile, |p|^2, and words of their patches where they are kept.
    uint32 job[2], theirs[KEEP ? PLANES * STEPS : 1][4];
    int square[2], middle[2];
    auto tap = [&](int plane, int step, uint32 (&words)[4]) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int slot = 2 * step + part / 2, apart = leaders.apart[slot] + 4 * plane * PLANE_TILE;
            words[part] = WORD_AT(tile, job[part % 2] + taps[leaders.of[slot]] + apart);
        }
    };
    auto go_to = [&](int number, int here) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int mine = number + 8 * half + g;
            job[half] = jobs[own_jobs + (mine < here ? mine : JOBS)];
            square[half] = (int)WORD_AT(squares, job[half] >> 16);
            middle[half] = square[half] >> 1;
            job[half] &= 0xffffu;
        }
        if (KEEP) {
#pragma unroll
            for (int plane = 0; plane < PLANES; ++plane)
#pragma unroll
                for (int step = 0; step < STEPS; ++step) tap(plane, step, theirs[KEEP ? plane * STEPS + step : 0]);
        }
    };

    // sums = p.q of BUNCH groups of photos, and half of their limits ``from_limits``.
    auto multiply = [&](bool from_limits, int bunch, int (&sums)[BUNCH][4]) {
#pragma unroll
        for (int group = 0; group < BUNCH; ++group) {
            uint4 start = {};
            if (from_limits) start = QUAD_AT(starts, 2 * own_limits + 16 * (bunch + group) + 4 * t);
            sums[group][0] = (int)start.x;
            sums[group][1] = (int)start.y;
            sums[group][2] = (int)start.z;
            sums[group][3] = (int)start.w;
        }
#pragma unroll
        for (int plane = 0; plane < PLANES; ++plane) {
            int products[BUNCH][4] = {};
#pragma unroll
            for (int step = 0; step < STEPS; ++step) {
                uint32 words[4];
                if (!KEEP) tap(plane, step, words);
#pragma unroll
                for (int part = 0; KEEP && part < 4; ++part) words[part] = theirs[KEEP ? plane * STEPS + step : 0][part];
#pragma unroll
                for (int group = 0; group < BUNCH; ++group) {
                    const int which = bunch + group;
                    const uint32 ours[2] = {own[which][plane][2 * step], own[which][plane][2 * step + 1]};
                    multiply_bytes(UNIT ? sums[group] : products[group], words, ours);
                }
            }
            if (!UNIT) {
                const int weight = (int)weights[plane];
#pragma unroll
                for (int group = 0; group < BUNCH; ++group)
#pragma unroll
                    for (int part = 0; part < 4; ++part) sums[group][part] += weight * products[group][part];
            }
        }
    };

    // Let wait what may enter the lists of a group of photos: a place of every lane at a time.
    auto wait = [&](int group, int start, const int (&sums)[4]) {
        uint32 hits = 0;
#pragma unroll
        for (int part = 0; part < 4; ++part) hits |= sums[part] > middle[part / 2] ? 1u << part : 0u;
#pragma unroll 1
        while (__any_sync(FULL, hits != 0)) {
            const int part = __ffs(hits) - 1, low = part & 2;  // -1 where there are none
            const int column = 8 * group + 2 * t + (part & 1), limit = limits[own_limits + column];
            const int sum = part & 1 ? (low ? sums[3] : sums[1]) : (low ? sums[2] : sums[0]);
            const int value = (low ? square[1] : square[0]) - 2 * (sum - ((limit + 1) >> 1));
            const bool enters = hits != 0 && value < limit;
            const uint32 entering = __ballot_sync(FULL, enters);
            const int at = own_queue + waiting + __popc(entering & ((1u << lane) - 1u));
            const uint32 number = start + 4 * low + g;
            if (enters) queue[at] = (uint64)(uint32)value << 32 | (uint32)column << 16 | number;
            waiting += __popc(entering);
            hits &= hits - 1;
        }
    };

    // The least values of rows g and g + 8 of a group, before there are lists.
    auto get_least = [&](int group, int (&least)[4]) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const uint64 two = lists[own_lists + (2 * group + half) * LANES + lane];
            least[2 * half] = (int)((uint32)two ^ SIGN);
            least[2 * half + 1] = (int)((uint32)(two >> 32) ^ SIGN);
        }
    };
    auto put_least = [&](int group, const int (&least)[4]) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
            lists[own_lists + (2 * group + half) * LANES + lane] =
                (uint64)((uint32)least[2 * half + 1] ^ SIGN) << 32 | ((uint32)least[2 * half] ^ SIGN);
    };

    // Of sixteen rows' least values the K-th least: the first limits.
    auto limit_by_sample = [&]() {
#pragma unroll 1
        for (int group = 0; group < GROUPS; ++group) {
            int least[4];
            get_least(group, least);
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                int less[2] = {};
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int row = 0; row < 8; ++row) {
                        const int theirs = __shfl_sync(FULL, least[2 * half + side], 4 * row + t);
                        less[0] += theirs < least[side];
                        less[1] += theirs < least[side + 2];
                    }
                int bound = max(less[0] < KEPT ? least[side] : NOBODY, less[1] < KEPT ? least[side + 2] : NOBODY);
#pragma unroll
                for (int apart = 4; apart < LANES; apart *= 2) bound = max(bound, __shfl_xor_sync(FULL, bound, apart));
                const int photo = 8 * group + 2 * t + side;
                if (g == 0 && first_photo + photo < photos) set_limit(photo, min(bound, OPEN - 1) + 1);
            }
        }
        __syncwarp();
        for (int item = lane; item < DEPTH * COLUMNS; item += LANES) lists[own_lists + item] = ~0ull;
        __syncwarp();
    };

    const int tiles = (end - begin + IMAGES - 1) / IMAGES;
    const int samples = SAMPLE > 0 && tiles > 1 ? (tiles + SAMPLE - 1) / (SAMPLE > 0 ? SAMPLE : 1) : 0;
    for (int turn = -samples; turn < tiles; ++turn) {
        const int first = begin + IMAGES * (turn < 0 ? (turn + samples) * SAMPLE : turn), count = min(IMAGES, end - first);
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
        uint32 bars = 0;  // images that any of these photos must not use: mostly none
#pragma unroll UNIT ? 3 : 8  // as registers allow
        for (int item = lane; item < COLUMNS * count; item += LANES) {
            const int photo = first_photo + item % COLUMNS, image = item / COLUMNS;
            if (photo < photos && barred[(int64)photo * images + first + image]) bars |= 1u << image;
        }
        if (__any_sync(FULL, bars != 0)) {
            uint32 all = 0;
            for (int image = 0; image < count; ++image) all |= __any_sync(FULL, bars >> image & 1u) ? 1u << image : 0u;
            bars = all;
        }
        if (SAMPLE > 0 && turn < 0) {
#pragma unroll
            for (int bunch = 0; bunch < GROUPS; bunch += BUNCH) {
                int least[BUNCH][4], sums[BUNCH][4];
#pragma unroll
                for (int group = 0; group < BUNCH; ++group) get_least(bunch + group, least[group]);
#pragma unroll 1
                for (int start = 0; start < here; start += 16) {
                    const int low = start / (SIDE * SIDE), high = min(start + 15, here - 1) / (SIDE * SIDE);
                    if ((bars >> low | bars >> high) & 1u) continue;
                    go_to(start, here);
                    multiply(false, bunch, sums);
#pragma unroll
                    for (int group = 0; group < BUNCH; ++group)
#pragma unroll
                        for (int part = 0; part < 4; ++part)
                            least[group][part] = min(least[group][part], square[part / 2] - 2 * sums[group][part]);
                }
#pragma unroll
                for (int group = 0; group < BUNCH; ++group) put_least(bunch + group, least[group]);
            }
            if (turn == -1) limit_by_sample();
            continue;
        }
#pragma unroll 1
        for (int start = 0; start < here; start += 16) {
            int done = 0;  // groups whose places wait or are in their lists
#pragma unroll 1
            do {
                int stop = GROUPS;
                go_to(start, here);
#pragma unroll
                for (int bunch = 0; bunch < GROUPS; bunch += BUNCH) {
                    int sums[BUNCH][4];
                    multiply(true, bunch, sums);
#pragma unroll
                    for (int of = 0; of < BUNCH; of += TOLD) {
                        bool above = false;
#pragma unroll
                        for (int part = 0; part < 4 * TOLD; ++part)
                            above |= sums[of + part / 4][part % 4] > middle[part / 2 % 2];
                        if (!__any_sync(FULL, above)) continue;
#pragma unroll
                        for (int more = 0; more < TOLD; ++more) {
                            const int group = bunch + of + more;
                            if (group < done) continue;
                            if (waiting > ROOM)
                                stop = min(stop, group);
                            else
                                wait(group, start, sums[of + more]);
                        }
                    }
                }
                done = stop;
                if (waiting > ENOUGH || done < GROUPS || (waiting && start + 16 >= here)) drain(first, bars);
            } while (done < GROUPS);
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
            const uint64 key = lists[own_lists + lane * COLUMNS + 8 * group + member];
            const int64 entry = (((int64)blockIdx.z * photos + photo) * nodes + node) * KEPT + lane;
            const uint32 number = (uint32)key, image = number / (SIDE * SIDE);
            const uint32 y = anchor_row - RADIUS + number / SIDE % SIDE, x = anchor_column - RADIUS + number % SIDE;
            distances[entry] = key == ~0ull ? WORST : ((uint32)(key >> 32) ^ SIGN) + own_norm;
            places[entry] = (image * HEIGHT + y) * WIDTH + x;
        }
    }
}
