// The Markov weight field on the device: how nodes are dealt to groups of lanes, and sums and choices over a group.
//
// A node has a group of GROUP lanes; lane s of it holds the candidates s, s + GROUP, ... (SLOTS of them; those from K on
// are none). Groups of a warp do everything together, so that shuffles find all lanes; a group without a node works on
// nothing. Sums over candidates run in their order, minima and maxima in any: a node's numbers do not depend on where it
// is computed.
//
// After common.cuh. Macros: K, GROUP (a power of two, 32 at most), SLOTS, LANES.
constexpr int CELLS = K * K, GROUPS = LANES / GROUP;

// Where a node lies in the grid. across: number of the first edge downwards; edges to the right come first.
struct Place {
    int node, row, column, rows, columns;

    __device__ __forceinline__ Place(int at, int down, int across)
        : node(at), row(at / across), column(at - at / across * across), rows(down), columns(across) {}
    __device__ __forceinline__ bool right() const { return column + 1 < columns; }
    __device__ __forceinline__ bool left() const { return column > 0; }
    __device__ __forceinline__ bool below() const { return row + 1 < rows; }
    __device__ __forceinline__ bool above() const { return row > 0; }
    __device__ __forceinline__ int beside() const { return row * (columns - 1) + column; }  // edge to the right
    __device__ __forceinline__ int under() const { return rows * (columns - 1) + node; }    // edge downwards
};

// The candidate of a lane's slot.
__device__ __forceinline__ int candidate(int slot) {
    return slot * GROUP + (int)(threadIdx.x % GROUP);
}

// What candidate ``at`` of the group, the same in all its lanes, has in ``values``.
__device__ __forceinline__ float of(const float (&values)[SLOTS], int at) {
    float value = __shfl_sync(FULL, values[0], at % GROUP, GROUP);
#pragma unroll
    for (int slot = 1; slot < SLOTS; ++slot) {  // chosen after the exchange: before, registers would become an array
        const float other = __shfl_sync(FULL, values[slot], at % GROUP, GROUP);
        if (at / GROUP == slot) value = other;
    }
    return value;
}

// The candidate with the largest value, the lowest of equals; all lanes agree even on what is no number. Candidates that
// are none must have a value below all others, or an equal one.
__device__ __forceinline__ int largest(const float (&values)[SLOTS]) {
    float value = values[0];
    int at = candidate(0);
#pragma unroll
    for (int slot = 1; slot < SLOTS; ++slot)
        if (values[slot] > value) {
            value = values[slot];
            at = candidate(slot);
        }
#pragma unroll
    for (int with = GROUP / 2; with > 0; with /= 2) {
        const float theirs = __shfl_xor_sync(FULL, value, with);
        const int where = __shfl_xor_sync(FULL, at, with);
        if (theirs > value || (theirs == value && where < at)) {
            value = theirs;
            at = where;
        }
    }
    return __shfl_sync(FULL, at, 0, GROUP);
}

// A node's weights, in their lanes; zeros where ``there`` is false.
__device__ __forceinline__ void load(const float* weights, int node, bool there, float (&out)[SLOTS]) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
        out[slot] = there && candidate(slot) < K ? weights[(int64)node * K + candidate(slot)] : 0.0f;
}

// What a neighbour's weights, in their lanes, pull a node to, added to ``pull``. edge: the alpha C of their edge, of which
// the node is the FIRST end or not.
template <bool FIRST>
__device__ __forceinline__ void add_pull(bool there, const float* edge, const float (&weights)[SLOTS],
                                         float (&pull)[SLOTS]) {
#pragma unroll UNROLLED
    for (int j = 0; j < K; ++j) {
        const float weight = of(weights, j);
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int i = candidate(slot);
            if (there && i < K) pull[slot] += weight * edge[FIRST ? i * K + j : j * K + i];
        }
    }
}

// The weights of a node and of its neighbours, in their lanes; zeros where there is none, and of a group without a node.
struct Weights {
    float mine[SLOTS], right[SLOTS], left[SLOTS], below[SLOTS], above[SLOTS];

    __device__ __forceinline__ Weights(const float* weights, const Place& place, bool busy) {
        load(weights, place.node, busy, mine);
        load(weights, place.node + 1, busy && place.right(), right);
        load(weights, place.node - 1, busy && place.left(), left);
        load(weights, place.node + place.columns, busy && place.below(), below);
        load(weights, place.node - place.columns, busy && place.above(), above);
    }
};

// Half the gradient of the objective, b + A w - sum of (alpha C w_neighbour); of a group without a node (``busy`` false)
// zeros.
__device__ __forceinline__ void gradient(const Place& place, bool busy, const float* hessian, const float* linear,
                                         const float* cross, const Weights& weights, float (&slope)[SLOTS]) {
    const float* const own = hessian + (int64)place.node * CELLS;
    const float* const beside = cross + (int64)place.beside() * CELLS;
    const float* const under = cross + (int64)place.under() * CELLS;
    float pull[SLOTS] = {};
    add_pull<true>(busy && place.right(), beside, weights.right, pull);
    add_pull<false>(busy && place.left(), beside - CELLS, weights.left, pull);
    add_pull<true>(busy && place.below(), under, weights.below, pull);
    add_pull<false>(busy && place.above(), under - (int64)place.columns * CELLS, weights.above, pull);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
        slope[slot] = busy && candidate(slot) < K ? linear[(int64)place.node * K + candidate(slot)] - pull[slot] : 0;
#pragma unroll UNROLLED
    for (int j = 0; j < K; ++j) {
        const float weight = of(weights.mine, j);
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot)  // symmetric: [j][i] lets neighbouring lanes read neighbours
            if (busy && candidate(slot) < K) slope[slot] += own[j * K + candidate(slot)] * weight;
    }
}
