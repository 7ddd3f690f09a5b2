// Costs and tables with the grid's nodes innermost, so that a warp of belief propagation reads whole lines; and messages
// that say nothing yet.
//
// After common.cuh. Macros: K, WARPS, LANES, FIELD (1: costs are made of distances and of the tables of the field, as
// Compatibility.costs makes them; 0: they are given as they are).
constexpr int CELLS = K * K, TILE = LANES + 1;

#if FIELD
typedef uint32 Unary;
#else
typedef float Unary;
#endif

// Blocks (nodes / LANES, cells / LANES, 3 * photos) of WARPS warps: the edges to the right, those downwards, the nodes.
//   unary    (photos, nodes, K) Unary: distances, or costs
//   own, other  (photos, edges, K, K) float, S_ij and S_ji, the edges to the right first; not read unless FIELD
//   cross    (photos, edges, K, K) float, C_ij; the costs themselves unless FIELD
//   alpha    float, not used unless FIELD
//   rows, columns  int, nodes of the grid
//   costs    (photos, K, nodes) float, written
//   tables   (2, photos, K, K, nodes) float, written where a node has such an edge
//   messages  (2, photos, 4, K, nodes) float, written: zeros, like
//   last     (photos) int
extern "C" __global__ void __launch_bounds__(WARPS * LANES)
lay_out(const Unary* unary, const float* own, const float* other, const float* cross, float alpha, int rows, int columns,
        float* costs, float* tables, float* messages, int* last) {
    SHARED(float, tile, LANES * TILE);
    const int plane = blockIdx.z % 3, photo = blockIdx.z / 3, photos = gridDim.z / 3;
    const int cells = plane == 2 ? K : CELLS, nodes = rows * columns, cell = blockIdx.y * LANES;
    const int64 edges = rows * (columns - 1) + (rows - 1) * columns;
    if (cell >= cells) return;
    const int lane = threadIdx.x % LANES, first = (cell + lane) / K, second = (cell + lane) % K;
    for (int at = threadIdx.x / LANES; at < LANES; at += WARPS) {
        const int node = blockIdx.x * LANES + at, row = node / columns, column = node - row * columns;
        const bool there =
            node < nodes && cell + lane < cells && (plane ? plane == 2 || row + 1 < rows : column + 1 < columns);
        float value = 0;
        if (there && plane == 2) value = (float)unary[((int64)photo * nodes + node) * K + cell + lane];
        if (there && plane != 2) {
            const int64 edge = photo * edges + (plane ? rows * (columns - 1) + node : row * (columns - 1) + column);
            value = cross[edge * CELLS + cell + lane];
            if (FIELD)
                value = alpha * ((own[edge * CELLS + first * K + first] + other[edge * CELLS + second * K + second]) -
                                 2.0f * value);
        }
        tile[at * TILE + lane] = value;
    }
    __syncthreads();
    const int node = blockIdx.x * LANES + lane;
    const int64 all = (int64)K * nodes;
    float* const out = plane == 2 ? costs + photo * all : tables + ((int64)plane * photos + photo) * K * all;
    for (int at = threadIdx.x / LANES; at < LANES; at += WARPS) {
        if (node >= nodes || cell + at >= cells) continue;
        out[(int64)(cell + at) * nodes + node] = tile[lane * TILE + at];
        if (plane != 2) continue;
        for (int64 which = 0; which < 8; ++which)
            messages[((which / 4 * photos + photo) * 4 + which % 4) * all + (int64)(cell + at) * nodes + node] = 0;
        if (node == 0 && cell + at == 0) last[photo] = 0;
    }
}
