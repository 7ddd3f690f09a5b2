// Gram matrices of the residuals, candidate minus query: (p_i - x)(p_j - x) = p_i p_j - p_i x - p_j x + x x, summed in
// integers. A warp owns a node and plane: the K candidates and the query's patch are rows in shared memory.
//
// After common.cuh, grid.cuh and gram.cuh (tables.py puts the files together). Macros besides theirs: PATCH, PLANES,
// WARPS (of a block), UNIT (1 if all planes have the weight 1), STAGED (1: the table is written from shared memory, in one
// piece; 0: it has no room there).

constexpr int BYTES = PATCH * PATCH;
constexpr int STRIDE = PLANES * BYTES;  // bytes from one candidate to the next
constexpr int TILES = LEFT * RIGHT, ROUNDS = (TILES + LANES - 1) / LANES;
constexpr int CHUNKS = (BYTES + 4 * CHUNK - 1) / (4 * CHUNK);
constexpr int QUERY = KEPT * ROW;                            // where a warp's words are: candidates, the query,
constexpr int DOTS = QUERY + ROW;                            // the query's products with all of them and itself,
constexpr int TABLE = DOTS + (KEPT + 1 + 3) / 4 * 4;         // the table
constexpr int OWN = TABLE + (STAGED ? 4 * CELL_QUADS : 0);

// Blocks (columns of nodes / WARPS, rows of nodes, photos * PLANES) of LANES * WARPS threads.
//   query    (photos, PLANES, height, width) uint8
//   sources  (photos, rows * columns, KEPT, PLANES, PATCH, PATCH) uint8, at a multiple of 4 bytes
//   weights  (PLANES) float, whose products with the sums are given; not read if UNIT
//   height, width, rows, columns (of nodes), step   int
//   grams    (photos, rows * columns, PLANES, KEPT, KEPT) float32, written
extern "C" __global__ void __launch_bounds__(LANES * WARPS)
evidence(const uint8* query, const uint8* sources, const float* weights, int height, int width, int rows, int columns,
         int step, float* grams) {
    SHARED_QUADS(shared, WARPS * OWN);
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, own = warp * OWN;
    const int photo = blockIdx.z / PLANES, plane = blockIdx.z % PLANES, row = blockIdx.y;
    const int wanted = blockIdx.x * WARPS + warp, column = min(wanted, columns - 1);  // a spare warp writes nothing
    const int64 node = ((int64)photo * rows + row) * columns + column;
    const uint8* candidates = sources + node * KEPT * STRIDE;
    const uint8* corner = query + ((int64)blockIdx.z * height + anchor(row, step, height - PATCH)) * width +
                          anchor(column, step, width - PATCH);
    float* table = grams + (node * PLANES + plane) * CELLS;

#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        const int tile = min(round * LANES + lane, TILES - 1), down = tile / RIGHT, across = tile % RIGHT;
        uint32 sums[TALL][WIDE] = {};
        int left[TALL], right[WIDE];
#pragma unroll
        for (int i = 0; i < TALL; ++i) left[i] = own + min(down + i * LEFT, KEPT - 1) * ROW;
#pragma unroll
        for (int j = 0; j < WIDE; ++j) right[j] = own + min(across + j * RIGHT, KEPT - 1) * ROW;
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int start = 4 * CHUNK * chunk, bytes = min(4 * CHUNK, BYTES - start), quads = (bytes + 15) / 16;
            if (CHUNKS > 1 || round == 0) {
                __syncthreads();  // until every lane has used the last chunk
                stage<STRIDE>(shared, own, candidates, plane * BYTES + start, bytes, [](int) { return FULL; });
                for (int word = lane; word < 4 * quads; word += LANES) {
                    uint32 levels = 0;
#pragma unroll
                    for (int part = 0; part < 4; ++part) {
                        const int byte = start + 4 * word + part;
                        if (byte < start + bytes)
                            levels |= (uint32)corner[byte / PATCH * width + byte % PATCH] << 8 * part;
                    }
                    shared[own + QUERY + word] = levels;
                }
                __syncthreads();  // until the chunk is there
            }
            if (round == 0) {
                for (int one = lane; one <= KEPT; one += LANES) {
                    uint32 dot = chunk ? (uint32)shared[own + DOTS + one] : 0u;
#pragma unroll 2
                    for (int quad = 0; quad < quads; ++quad)
                        dot = product(QUAD_AT(shared, own + one * ROW + 4 * quad),
                                      QUAD_AT(shared, own + QUERY + 4 * quad), dot);
                    shared[own + DOTS + one] = dot;
                }
            }
            add_products(sums, shared, left, right, quads);
        }
        if (round == 0) __syncthreads();  // until all products with the query are there
        if (round * LANES + lane < TILES) {
#pragma unroll
            for (int i = 0; i < TALL; ++i)
#pragma unroll
                for (int j = 0; j < WIDE; ++j) {
                    const int one = down + i * LEFT, other = across + j * RIGHT;
                    if (one >= KEPT || other >= KEPT) continue;
                    const uint32 sum = sums[i][j] - shared[own + DOTS + one] - shared[own + DOTS + other] +
                                       shared[own + DOTS + KEPT];
                    if (STAGED)
                        shared[own + TABLE + one * KEPT + other] = sum;
                    else if (wanted < columns)
                        table[one * KEPT + other] = UNIT ? (float)(int)sum : weights[plane] * (float)(int)sum;
                }
        }
    }
    if (STAGED) {
        __syncthreads();  // until the table is whole
        if (wanted < columns) write_table(table, shared, own + TABLE, UNIT ? 1.0f : weights[plane]);
    }
}
