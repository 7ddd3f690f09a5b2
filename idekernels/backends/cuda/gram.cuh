// Products of all of some rows of bytes with all of others, four bytes at once (__dp4a), by one warp; rows lie in shared
// memory in whole quads (four words), ROW words apart, an odd number of quads: eight rows lie in different banks.
//
// Macros: KEPT (K), TALL and WIDE (rows that a lane multiplies with how many others: what it loads serves so many sums),
// CHUNK (words of a row that are there at once, whole quads), ROW.

constexpr int LEFT = (KEPT + TALL - 1) / TALL;    // tiles of a table, down: tile t has rows t, t + LEFT, t + 2 LEFT, ...
constexpr int RIGHT = (KEPT + WIDE - 1) / WIDE;   // and across
constexpr int CELLS = KEPT * KEPT;                // of a table
constexpr int CELL_QUADS = (CELLS + 3) / 4;
static_assert(CHUNK % 4 == 0 && ROW % 8 == 4 && ROW >= CHUNK, "rows are whole quads");

// Put ``bytes`` bytes a row (CHUNK words at most; what is beyond them in a quad is 0) of KEPT rows into shared memory.
//
// Row k begins at base + offset + k * STRIDE; base is a multiple of 4 where STRIDE is. ``mask(word)``: the bits that are
// kept of a row's word. SPAN lanes share a row, the others take the next rows.
template <int STRIDE, int SPAN, typename Rows, typename Mask>
__device__ __forceinline__ void stage_by(Rows& rows, int at, const uint8* base, int offset, int bytes, Mask mask) {
    constexpr int TOGETHER = LANES / SPAN, ROUNDS = (KEPT + TOGETHER - 1) / TOGETHER;
    const int lane = threadIdx.x % LANES, words = min(CHUNK, (bytes + 15) / 16 * 4), first = lane / SPAN;
#pragma unroll 1
    for (int word = lane % SPAN; word < words; word += SPAN) {
        const int count = min(4, bytes - 4 * word);  // of this word's bytes that there are
        const uint32 kept = count <= 0 ? 0u : (count < 4 ? (1u << 8 * count) - 1u : FULL) & mask(word);
        const uint8* from = base + (offset + 4 * word + first * STRIDE);
#pragma unroll 8
        for (int round = 0; round < ROUNDS; ++round) {
            const int row = first + round * TOGETHER;
            if (KEPT % TOGETHER && row >= KEPT) break;
            const uint8* here = from + round * TOGETHER * STRIDE;
            const int skew = STRIDE % 4 ? (int)((unsigned long long)here & 3) : offset & 3;
            const uint32* aligned = reinterpret_cast<const uint32*>(here - skew);
            const uint32 low = count > 0 ? READ(aligned) : 0u, high = skew + count > 4 ? READ(aligned + 1) : 0u;
            rows[at + row * ROW + word] = __funnelshift_r(low, high, 8 * skew) & kept;
        }
    }
}

template <int STRIDE, typename Rows, typename Mask>
__device__ __forceinline__ void stage(Rows& rows, int at, const uint8* base, int offset, int bytes, Mask mask) {
    if (bytes <= 8 * 4)
        stage_by<STRIDE, 8>(rows, at, base, offset, bytes, mask);
    else if (bytes <= 16 * 4)
        stage_by<STRIDE, 16>(rows, at, base, offset, bytes, mask);
    else
        stage_by<STRIDE, LANES>(rows, at, base, offset, bytes, mask);
}

// sum + the product of four words with four others.
__device__ __forceinline__ uint32 product(const uint4& one, const uint4& other, uint32 sum) {
    return __dp4a(one.x, other.x, __dp4a(one.y, other.y, __dp4a(one.z, other.z, __dp4a(one.w, other.w, sum))));
}

// Add the products of a lane's tile: rows by the words where they begin.
template <typename Rows>
__device__ __forceinline__ void add_products(uint32 (&sums)[TALL][WIDE], Rows& rows, const int (&left)[TALL],
                                             const int (&right)[WIDE], int quads) {
#pragma unroll 1
    for (int quad = 0; quad < quads; ++quad) {
        uint4 ours[TALL], theirs[WIDE];
#pragma unroll
        for (int i = 0; i < TALL; ++i) ours[i] = QUAD_AT(rows, left[i] + 4 * quad);
#pragma unroll
        for (int j = 0; j < WIDE; ++j) theirs[j] = QUAD_AT(rows, right[j] + 4 * quad);
#pragma unroll
        for (int i = 0; i < TALL; ++i)
#pragma unroll
            for (int j = 0; j < WIDE; ++j) sums[i][j] = product(ours[i], theirs[j], sums[i][j]);
    }
}

// A table of integers in shared memory to one of float32, times ``weight``, by whole quads where its cells are.
template <typename Rows>
__device__ __forceinline__ void write_table(float* table, Rows& rows, int at, float weight = 1.0f) {
    const int lane = threadIdx.x % LANES;
    if (CELLS % 4 == 0) {
        for (int quad = lane; quad < CELLS / 4; quad += LANES) {
            const uint4 sums = QUAD_AT(rows, at + 4 * quad);
            reinterpret_cast<float4*>(table)[quad] =
                make_float4(weight * (float)(int)sums.x, weight * (float)(int)sums.y, weight * (float)(int)sums.z,
                            weight * (float)(int)sums.w);
        }
    } else {
        for (int cell = lane; cell < CELLS; cell += LANES) table[cell] = weight * (float)(int)(uint32)rows[at + cell];
    }
}
