// Costs and tables with the grid's nodes innermost, so that a warp of belief propagation reads whole lines.
//
// After common.cuh. Macros: K, WARPS, LANES.
constexpr int CELLS = K * K, TILE = LANES + 1;

// Blocks (nodes / LANES, cells / LANES, 3 * photos) of WARPS warps: the edges to the right, those downwards, the nodes.
//   unary    (photos, nodes, K) float
//   pairwise  (photos, edges, K, K) float, the edges to the right first
//   rows, columns  int, nodes of the grid
//   costs    (photos, K, nodes) float, written
//   tables   (2, photos, K, K, nodes) float, written where a node has such an edge
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
lay_out(const float* unary, const float* pairwise, int rows, int columns, float* costs, float* tables) {
    SHARED(float, tile, LANES * TILE);
    const int plane = blockIdx.z % 3, photo = blockIdx.z / 3, photos = gridDim.z / 3;
    const int cells = plane == 2 ? K : CELLS, nodes = rows * columns, cell = blockIdx.y * LANES;
    const int64 edges = rows * (columns - 1) + (rows - 1) * columns;
    if (cell >= cells) return;
    const int lane = threadIdx.x % LANES;
    const float* const given = plane == 2 ? unary + (int64)photo * nodes * K : pairwise + photo * edges * CELLS;
    for (int at = threadIdx.x / LANES; at < LANES; at += WARPS) {
        const int node = blockIdx.x * LANES + at, row = node / columns, column = node - row * columns;
        const bool there = node < nodes && cell + lane < cells && (plane ? plane == 2 || row + 1 < rows : column + 1 < columns);
        const int64 which = plane == 2 ? node : plane ? rows * (columns - 1) + node : row * (columns - 1) + column;
        tile[at * TILE + lane] = there ? given[which * cells + cell + lane] : 0.0f;
    }
    __syncthreads();
    const int node = blockIdx.x * LANES + lane;
    float* const out = plane == 2 ? costs + (int64)photo * K * nodes : tables + ((int64)plane * photos + photo) * CELLS * nodes;
    for (int at = threadIdx.x / LANES; at < LANES; at += WARPS)
        if (node < nodes && cell + at < cells) out[(int64)(cell + at) * nodes + node] = tile[lane * TILE + at];
}
