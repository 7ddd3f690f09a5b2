// Overlap tables of neighbouring nodes, O_i^T O_i, O_j^T O_j and O_i^T O_j, summed in integers. A warp owns an edge: its
// nodes' candidates are rows of bytes in shared memory, whole patches with what lies beyond the overlap made zero. The
// pixel of node i at a byte is the one of node j so many bytes earlier, wherever it is: one shift of a whole row.
//
// After common.cuh, grid.cuh and gram.cuh (tables.py puts the files together). Macros besides theirs: PATCH, PLANES (the
// channels), WARPS (of a block), STAGED (1: tables are written from shared memory, in one piece; 0: no room there).
// Tensor cores would be idle too: bytes of tables bind from here on, and every device has __dp4a.

constexpr int BYTES = PLANES * PATCH * PATCH;  // of a candidate
constexpr int TILES = 3 * LEFT * RIGHT, ROUNDS = (TILES + LANES - 1) / LANES;
constexpr int CHUNKS = (BYTES + 4 * CHUNK - 1) / (4 * CHUNK);
constexpr int TABLES = 2 * KEPT * ROW;         // where a warp's words are: candidates of i, of j, three tables
constexpr int OWN = TABLES + (STAGED ? 3 * 4 * CELL_QUADS : 0);

// The bits of four bytes of a candidate that lie in its upper left high x wide pixels, of every channel.
__device__ __forceinline__ uint32 within(int first, int high, int wide) {
    int column = first % PATCH, row = first / PATCH % PATCH;
    uint32 mask = 0;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        mask |= row < high && column < wide ? 255u << 8 * part : 0u;
        const bool ends = ++column == PATCH;
        column = ends ? 0 : column;
        row = !ends ? row : row + 1 == PATCH ? 0 : row + 1;
    }
    return mask;
}

// Blocks (2 * columns of nodes / WARPS, rows of nodes, photos) of LANES * WARPS threads. Of every two warps one has the
// edge from a node to its right, one that to the node below.
//   targets  (photos, rows * columns, KEPT, PLANES, PATCH, PATCH) uint8, at a multiple of 4 bytes
//   rows, columns (of nodes), step, last_row, last_column (first pixels of the last nodes)   int
//   own, other, cross  (photos, edges, KEPT, KEPT) float32, written; all edges across, then all down
extern "C" __global__ void __launch_bounds__(LANES * WARPS)
compatibility(const uint8* targets, int rows, int columns, int step, int last_row, int last_column, float* own,
              float* other, float* cross) {
    SHARED_QUADS(shared, WARPS * OWN);
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, mine = warp * OWN;
    const int row = blockIdx.y, column = (blockIdx.x * WARPS + warp) / 2;
    const bool below = (blockIdx.x * WARPS + warp) % 2;
    const bool exists = below ? row + 1 < rows && column < columns : column + 1 < columns;
    const int down = below ? anchor(row + 1, step, last_row) - anchor(row, step, last_row) : 0;
    const int across = below ? 0 : anchor(column + 1, step, last_column) - anchor(column, step, last_column);
    const int shift = down * PATCH + across, overlapping = exists ? BYTES - shift : 0;  // bytes
    const int64 node = ((int64)blockIdx.z * rows + row) * columns + column;
    const int edges_across = rows * (columns - 1), edges = edges_across + (rows - 1) * columns;
    const int64 edge = (int64)blockIdx.z * edges +
                       (below ? edges_across + row * columns + column : row * (columns - 1) + column);
    const uint8* ours = targets + node * KEPT * BYTES;
    const uint8* theirs = ours + (below ? (int64)columns : 1) * KEPT * BYTES;

#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        const int tile = min(round * LANES + lane, TILES - 1), table = tile / (LEFT * RIGHT);
        const int first = tile / RIGHT % LEFT, second = tile % RIGHT;
        uint32 sums[TALL][WIDE] = {};
        int left[TALL], right[WIDE];
#pragma unroll
        for (int i = 0; i < TALL; ++i) left[i] = mine + (min(first + i * LEFT, KEPT - 1) + (table == 1 ? KEPT : 0)) * ROW;
#pragma unroll
        for (int j = 0; j < WIDE; ++j)
            right[j] = mine + (min(second + j * RIGHT, KEPT - 1) + (table == 0 ? 0 : KEPT)) * ROW;
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int start = 4 * CHUNK * chunk, bytes = min(4 * CHUNK, overlapping - start);
            if (CHUNKS > 1 || round == 0) {
                auto mask = [&](int word) { return within(start + 4 * word, PATCH - down, PATCH - across); };
                __syncthreads();  // until every lane has used the last chunk
                stage<BYTES>(shared, mine, ours, shift + start, bytes, mask);
                stage<BYTES>(shared, mine + KEPT * ROW, theirs, start, bytes, mask);
                __syncthreads();  // until the chunk is there
            }
            add_products(sums, shared, left, right, (bytes + 15) / 16);
        }
        if (round * LANES + lane < TILES && exists) {
            float* direct = (table == 0 ? own : table == 1 ? other : cross) + edge * CELLS;
#pragma unroll
            for (int i = 0; i < TALL; ++i)
#pragma unroll
                for (int j = 0; j < WIDE; ++j) {
                    const int one = first + i * LEFT, two = second + j * RIGHT;
                    if (one >= KEPT || two >= KEPT) continue;
                    if (STAGED)
                        shared[mine + TABLES + table * 4 * CELL_QUADS + one * KEPT + two] = sums[i][j];
                    else
                        direct[one * KEPT + two] = (float)(int)sums[i][j];
                }
        }
    }
    if (STAGED) {
        __syncthreads();  // until the tables are whole
        if (!exists) return;
        write_table(own + edge * CELLS, shared, mine + TABLES);
        write_table(other + edge * CELLS, shared, mine + TABLES + 4 * CELL_QUADS);
        write_table(cross + edge * CELLS, shared, mine + TABLES + 8 * CELL_QUADS);
    }
}
