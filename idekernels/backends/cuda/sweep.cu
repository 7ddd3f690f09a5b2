// Red-black block descent on the weight field: nodes of one colour are improved with their neighbours fixed, then those of
// the other, until none moves.
//
// A visit lowers w^T A w + 2 b^T w on the simplex by exact steps along pairs of candidates, then moves as far again times
// ``relax``, as the CPU's kernel does. A node that moved makes itself and its neighbours dirty, which are of the other
// colour; a warp looks which of its nodes are dirty and visits those, GROUPS at once. Blocks of a cluster share a photo
// and wait for one another after each colour: all sweeps are one launch. Without clusters a launch is one colour.
//
// No photo knows of its batch, and no node of who visits it: numbers are made in an order that K alone sets.
//
// After common.cuh, cluster.cuh and field.cuh. Macros: K, GROUP, SLOTS, UNROLLED, WARPS, BLOCKS, CLUSTER, LANES, MOST_STEPS (of a
// visit), PATIENCE and PACE (sweeps after which the least movement begins to double; from one doubling to the next).

// Share of two candidates' curvatures that their slope can owe to rounding alone, in float32; what over-relaxation leaves
// below DUST is no weight; curvature between two candidates that are the same.
constexpr float ROUNDING = 3e-7f, DUST = 1.0f / (1 << 20), TINY = 1e-20f;

// The least movement that counts in a sweep, counted from 0.
__device__ __forceinline__ float least_at(float least, int sweep) {
    const int doublings = sweep < PATIENCE ? 0 : min((sweep - PATIENCE) / PACE + 1, 100);
    return least * __int_as_float((doublings + 127) << 23);
}

// The exact step from one candidate (the giver) to another; 0 where it is not to be made.
//
// apart: slope of the giver less that of the taker. far: their curvatures, added. between: the form's entry of both.
// most: the giver's weight. enough: slopes up to it count for nothing. least: so does a smaller step, unless it is all.
__device__ __forceinline__ float exchange(float apart, float far, float between, float most, float enough, float least) {
    const float move = min(apart / max(far - 2 * between, TINY), most);
    return apart > enough && apart > ROUNDING * far && (move >= least || move == most) ? move : 0.0f;
}

// A node's weights on their way: its slopes with them, the form's diagonal, whether it has moved.
struct Visit {
    float mine[SLOTS], slope[SLOTS], curve[SLOTS];
    bool moved;
};

// The pair of candidates whose exchange gains most, of all pairs: a giver a lane. Gives the gain; as exchange's arguments.
__device__ __forceinline__ float best_of_all(const Visit& visit, const float* own, bool busy, float least, int& taker,
                                             int& giver, float& move) {
    float gain[SLOTS], step[SLOTS];
    int to[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        gain[slot] = step[slot] = 0;
        to[slot] = 0;
    }
#pragma unroll 1
    for (int j = 0; j < K; ++j) {
        const float low = of(visit.slope, j), bend = of(visit.curve, j);
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int i = candidate(slot);
            const float apart = visit.slope[slot] - low, between = busy && i < K ? own[j * K + i] : 0.0f;
            const float moves = exchange(apart, bend + visit.curve[slot], between, visit.mine[slot], 0.0f, least);
            if (i < K && moves * apart > gain[slot]) {
                gain[slot] = moves * apart;
                step[slot] = moves;
                to[slot] = j;
            }
        }
    }
    const float most = of(gain, largest(gain));
    float first[SLOTS];  // of those that gain most the one with the lowest taker, then the lowest giver
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) first[slot] = candidate(slot) < K && gain[slot] == most ? -to[slot] : -K;
    giver = largest(first);
    taker = (int)-of(first, giver);
    move = of(step, giver);
    return most;
}

// Exact steps along pairs of candidates until none is worth it. enough: share of the slopes that is left alone.
__device__ __forceinline__ void exchange_all(Visit& visit, const float* own, bool busy, float enough, float least) {
    bool going = busy;
    for (int round = 0; round < MOST_STEPS && __any_sync(FULL, going); ++round) {
        float turned[SLOTS], gain[SLOTS], step[SLOTS];
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot)
            turned[slot] = candidate(slot) < K ? -visit.slope[slot] : -__int_as_float(0x7f800000);
        int taker = largest(turned);
        const float low = of(visit.slope, taker), bend = of(visit.curve, taker);
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int i = candidate(slot);
            const float apart = visit.slope[slot] - low, between = going && i < K ? own[taker * K + i] : 0.0f;
            step[slot] = exchange(apart, bend + visit.curve[slot], between, visit.mine[slot], enough, least);
            gain[slot] = i < K ? step[slot] * apart : -1.0f;
        }
        int giver = largest(gain);
        float most = of(gain, giver), move = of(step, giver);
        const bool look = going && !visit.moved && !(most > 0);  // the cheapest candidate may be far from all others
        if (__any_sync(FULL, look)) {
            int other_taker, other_giver;
            float other_move;
            const float other = best_of_all(visit, own, look, least, other_taker, other_giver, other_move);
            if (look) {
                most = other;
                move = other_move;
                taker = other_taker;
                giver = other_giver;
            }
        }
        going = going && most > 0;
        if (!going) continue;
        visit.moved = visit.moved || move >= least;
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int i = candidate(slot);
            if (i >= K) continue;
            visit.slope[slot] += move * (own[taker * K + i] - own[giver * K + i]);
            if (i == taker) visit.mine[slot] += move;
            if (i == giver) visit.mine[slot] = move < visit.mine[slot] ? visit.mine[slot] - move : 0.0f;
        }
    }
}

// Go on in the direction from ``old`` to where the visit has come, where the line's lowest point is not before three
// quarters of the way. before: the slopes at its start.
__device__ __forceinline__ void go_further(Visit& visit, const float (&old)[SLOTS], const float (&before)[SLOTS],
                                           float relax) {
    float falls[SLOTS], leaves[SLOTS], gone[SLOTS], further = relax, fell = 0, left = 0;
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        gone[slot] = visit.mine[slot] - old[slot];
        falls[slot] = before[slot] * gone[slot];
        leaves[slot] = visit.slope[slot] * gone[slot];
        if (gone[slot] < 0) further = min(further, visit.mine[slot] / -gone[slot]);
    }
#pragma unroll
    for (int with = GROUP / 2; with > 0; with /= 2) further = min(further, __shfl_xor_sync(FULL, further, with));
#pragma unroll UNROLLED
    for (int j = 0; j < K; ++j) {
        fell -= of(falls, j);
        left += of(leaves, j);
    }
    if (!visit.moved || !(3 * left <= fell)) return;
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const float reached = visit.mine[slot] + further * gone[slot];
        visit.mine[slot] = reached > DUST ? reached : 0.0f;
    }
}

// One photo's field, and what changes: see the kernel.
struct Field {
    const float *hessian, *linear, *cross;
    float* weights;
    uint8* dirty;
    int* last;
    int rows, columns;
};

// Visit one node (a group without one: busy is false). done: this sweep, counted from 1.
__device__ __forceinline__ void improve(const Field& field, int node, bool busy, float relax, float least, int done) {
    const Place place(node, field.rows, field.columns);
    const float* const own = field.hessian + (int64)node * CELLS;
    Visit visit;
    const Weights weights(field.weights, place, busy);
    float before[SLOTS];
    gradient(place, busy, field.hessian, field.linear, field.cross, weights, visit.slope);
    float lowest = __int_as_float(0x7f800000), highest = -lowest;  // slopes; the highest of those with a weight
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int i = candidate(slot);
        visit.curve[slot] = busy && i < K ? own[i * K + i] : 0.0f;
        visit.mine[slot] = weights.mine[slot];
        before[slot] = visit.slope[slot];
        if (i < K) lowest = min(lowest, visit.slope[slot]);
        if (i < K && visit.mine[slot] > 0) highest = max(highest, visit.slope[slot]);
    }
#pragma unroll
    for (int with = GROUP / 2; with > 0; with /= 2) {
        lowest = min(lowest, __shfl_xor_sync(FULL, lowest, with));
        highest = max(highest, __shfl_xor_sync(FULL, highest, with));
    }
    visit.moved = false;
    exchange_all(visit, own, busy, SHARE * (max(lowest, highest) - lowest), least);
    if (__any_sync(FULL, visit.moved)) go_further(visit, weights.mine, before, relax);
    if (!busy) return;
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
        if (candidate(slot) < K) field.weights[(int64)node * K + candidate(slot)] = visit.mine[slot];
    if (threadIdx.x % GROUP) return;
    field.dirty[node] = visit.moved;
    if (!visit.moved) return;
    *field.last = done;  // all write the same, as with the flags below
    if (place.right()) field.dirty[node + 1] = 1;
    if (place.left()) field.dirty[node - 1] = 1;
    if (place.below()) field.dirty[node + field.columns] = 1;
    if (place.above()) field.dirty[node - field.columns] = 1;
}

// Visit the dirty nodes of one colour. turn: this warp of all that share the photo; turns: how many.
__device__ __forceinline__ void improve_colour(const Field& field, int colour, int turn, int turns, float relax,
                                               float least, int done) {
    const int lane = threadIdx.x % LANES, half = (field.columns + 1) / 2, nodes = field.rows * half;
    for (int start = turn; start < nodes; start += turns * LANES) {
        const int at = start + lane * turns, row = at / half, column = 2 * (at - row * half) + (row + colour) % 2;
        const int node = row * field.columns + column;
        uint32 waiting = __ballot_sync(FULL, at < nodes && column < field.columns && field.dirty[node]);
        while (waiting) {
            uint32 ours = waiting;
            for (int group = 0; group < GROUPS; ++group) {
                if (group < lane / GROUP) ours &= ours - 1;
                waiting &= waiting - 1;
            }
            const int found = __shfl_sync(FULL, node, ours ? __ffs(ours) - 1 : 0);
            improve(field, ours ? found : 0, ours != 0, relax, least, done);
        }
    }
}

// Blocks (of a photo, photos) of WARPS warps.
//   hessian  (photos, nodes, K, K) float
//   linear   (photos, nodes, K) float
//   cross    (photos, edges, K, K) float, alpha included
//   rows, columns  int, nodes of the grid
//   relax    float, how much farther than to its minimum a visit takes a node
//   least    float, the least step that counts in the first sweeps
//   first, until  int: halves of sweeps, counted from 0, of which the second ones take the other colour
//   weights  (photos, nodes, K) float, read and written
//   dirty    (photos, nodes) uint8, read and written: 1 where a node or a neighbour moved since its last visit
//   last     (photos) int, read and written: the last sweep that moved something, counted from 1
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS) IN_CLUSTERS
sweep(const float* __restrict__ hessian, const float* __restrict__ linear, const float* __restrict__ cross, int rows,
      int columns, float relax, float least, int first, int until, float* weights, uint8* dirty, int* last) {
    const int64 photo = blockIdx.y, nodes = rows * columns, edges = rows * (columns - 1) + (rows - 1) * columns;
    const Field field = {hessian + photo * nodes * CELLS, linear + photo * nodes * K, cross + photo * edges * CELLS,
                         weights + photo * nodes * K, dirty + photo * nodes, last + photo, rows, columns};
    const int turn = blockIdx.x * WARPS + threadIdx.x / LANES, turns = gridDim.x * WARPS;
    for (int half = first; half < until; ++half) {
        const int done = half / 2 + 1;
        if (*field.last < done - 1) break;  // the photo has settled, as all of its blocks see
        improve_colour(field, half % 2, turn, turns, relax, least_at(least, done - 1), done);
        if (half + 1 < until) cluster_barrier();
    }
}
