// Loopy belief propagation: messages from one buffer into another, a thread an edge, until none changes.
//
// Costs, tables and messages lie with the grid's nodes innermost; an edge is named by its first node. A thread reads every
// entry of its edge's table once for both of its messages: the first end's label is in the loop, up to 16 of the other's
// are in registers. Blocks of a cluster share a photo and wait for one another after each iteration: all of them are one
// launch. Without clusters a launch is one iteration. A photo whose messages did not change in an iteration is done.
//
// After common.cuh and cluster.cuh. Macros: K, NODES and COLUMNS (of the grid: known to the compiler, they leave one address
// for all of an edge's entries), SOFT (1: sum-product), UNROLLED (labels whose loads are on their way at once), WARPS,
// BLOCKS (of an SM, that registers are left for), CLUSTER, LANES.
constexpr int CELLS = K * K, THREADS = WARPS * LANES, CHUNK = K < 16 ? K : 16, SUMS = SOFT ? K * THREADS : 1;

enum { LEFT, ABOVE, RIGHT, BELOW };  // where a message comes from, as its receiver sees it; added in this order

// One photo's numbers. apart: from a table of the edges to the right to that downwards. old, made: messages (4, K, nodes).
struct Photo {
    const float *costs, *tables;
    int64 apart;
    const float* old;
    float* made;

    __device__ __forceinline__ int at(int from, int label, int node) const { return (from * K + label) * NODES + node; }
    __device__ __forceinline__ float belief(int label, int node) const {
        float total = costs[label * NODES + node];
        total += old[at(LEFT, label, node)];
        total += old[at(ABOVE, label, node)];
        total += old[at(RIGHT, label, node)];
        return total + old[at(BELOW, label, node)];
    }
};

struct Mixing {
    float keep, take, temperature;
};

// Write a message's entry, damped; whether it is another than before.
__device__ __forceinline__ bool put(const Photo& photo, const Mixing& mixing, int at, float value) {
    const float was = photo.old[at], now = mixing.keep * was + mixing.take * value;
    photo.made[at] = now;
    return now != was;
}

// The label with the lowest belief, the lowest of equals.
__device__ __forceinline__ int cheapest(const Photo& photo, int node) {
    int label = 0;
    float least = photo.belief(0, node);
#pragma unroll 2
    for (int i = 1; i < K; ++i) {
        const float mine = photo.belief(i, node);
        if (mine < least) {
            least = mine;
            label = i;
        }
    }
    return label;
}

// One edge. there and back: where its messages come from, as its ends see it. next: the second end.
struct Edge {
    const float* table;
    int there, back, node, next;

    __device__ __forceinline__ Edge(const Photo& photo, int way, int from)
        : table(photo.tables + way * photo.apart + from), there(LEFT + way), back(RIGHT + way), node(from),
          next(from + (way ? COLUMNS : 1)) {}
    __device__ __forceinline__ float cost(int i, int j) const { return table[(i * K + min(j, K - 1)) * NODES]; }
    __device__ __forceinline__ float rest(const Photo& photo, int i) const {  // the first end's belief without the second
        return photo.belief(i, node) - photo.old[photo.at(back, i, node)];
    }
    __device__ __forceinline__ float far(const Photo& photo, int j) const {
        return photo.belief(j, next) - photo.old[photo.at(there, j, next)];
    }
};

// The least of what an edge's ends tell each other, label by label. onward (to the second end), backward: (K, THREADS) in
// shared memory, of which a thread has a column. Gives the first node's cheapest label.
template <typename Column>
__device__ __forceinline__ int tell(const Photo& photo, const Edge& edge, Column& onward, Column& backward) {
    float cheap = 0;
    int label = 0;
#pragma unroll 1
    for (int from = 0; from < K; from += CHUNK) {
        float far[CHUNK], least[CHUNK];
#pragma unroll
        for (int j = 0; j < CHUNK; ++j) {
            far[j] = from + j < K ? edge.far(photo, from + j) : __int_as_float(0x7f800000);
            least[j] = __int_as_float(0x7f800000);
        }
#pragma unroll UNROLLED
        for (int i = 0; i < K; ++i) {
            const float mine = photo.belief(i, edge.node), rest = mine - photo.old[photo.at(edge.back, i, edge.node)];
            float toward = __int_as_float(0x7f800000);
            if (from) toward = backward[i * THREADS + threadIdx.x];
#pragma unroll
            for (int j = 0; j < CHUNK; ++j) {
                const float cost = edge.cost(i, from + j);
                least[j] = min(least[j], rest + cost);
                toward = min(toward, far[j] + cost);
            }
            backward[i * THREADS + threadIdx.x] = toward;
            if (i == 0 || mine < cheap) {
                cheap = mine;
                label = i;
            }
        }
#pragma unroll
        for (int j = 0; j < CHUNK; ++j)
            if (from + j < K) onward[(from + j) * THREADS + threadIdx.x] = least[j];
    }
    return label;
}

// The same softened: from the least to minus the logarithm of a sum. sums: like onward, written.
template <typename Column, typename Other>
__device__ __forceinline__ void soften(const Photo& photo, const Edge& edge, float temperature, Column& onward,
                                       Column& backward, Other& sums) {
#pragma unroll 1
    for (int from = 0; from < K; from += CHUNK) {
        float far[CHUNK], least[CHUNK], more[CHUNK] = {};
#pragma unroll
        for (int j = 0; j < CHUNK; ++j) {
            far[j] = from + j < K ? edge.far(photo, from + j) : 0.0f;
            least[j] = 0;
            if (from + j < K) least[j] = onward[(from + j) * THREADS + threadIdx.x];
        }
#pragma unroll 1
        for (int i = 0; i < K; ++i) {
            const float rest = edge.rest(photo, i), toward = backward[i * THREADS + threadIdx.x];
            float less = 0;
            if (from) less = sums[i * THREADS + threadIdx.x];
#pragma unroll
            for (int j = 0; j < CHUNK; ++j) {
                const float cost = edge.cost(i, from + j);
                more[j] += expf((least[j] - rest - cost) / temperature);
                if (from + j < K) less += expf((toward - far[j] - cost) / temperature);
            }
            sums[i * THREADS + threadIdx.x] = less;
        }
#pragma unroll
        for (int j = 0; j < CHUNK; ++j)
            if (from + j < K) onward[(from + j) * THREADS + threadIdx.x] = least[j] - temperature * logf(more[j]);
    }
#pragma unroll 1
    for (int i = 0; i < K; ++i) {
        const int at = i * THREADS + threadIdx.x;
        backward[at] = backward[at] - temperature * logf(sums[at]);
    }
}

// Write a message of which a thread has a column, the least of it subtracted; whether it has changed. from: where it comes
// from, as the node that gets it sees it.
template <typename Column>
__device__ __forceinline__ bool send(const Photo& photo, const Mixing& mixing, Column& column, int from, int node) {
    float least = column[threadIdx.x];
#pragma unroll 4
    for (int j = 1; j < K; ++j) least = min(least, (float)column[j * THREADS + threadIdx.x]);
    bool changed = false;
#pragma unroll 4
    for (int j = 0; j < K; ++j)
        changed |= put(photo, mixing, photo.at(from, j, node), column[j * THREADS + threadIdx.x] - least);
    return changed;
}

// Blocks (of a photo, photos) of WARPS warps.
//   costs    (photos, K, nodes) float
//   tables   (2, photos, K, K, nodes) float, of the edges to the right and downwards
//   keep, take  float, shares of the old and of the new in a message
//   temperature  float, squared grey levels; not used where SOFT is 0
//   iterations  int
//   first, until  int: steps, of which the one numbered ``iterations`` gives the last labels and the beliefs
//   messages  (2, photos, 4, K, nodes) float, zeros at first
//   labels   (iterations + 1, photos, nodes) int, written: of the beliefs that each step begins with
//   beliefs  (photos, nodes, K) float, written
//   last     (photos) int, zeros at first: the number of the last step that changed a message, counted from 1
extern "C" __global__ void __launch_bounds__(WARPS * LANES, BLOCKS) IN_CLUSTERS
propagate(const float* __restrict__ costs, const float* __restrict__ tables, float keep, float take,
          float temperature, int iterations, int first, int until, float* messages, int* labels, float* beliefs,
          int* last) {
    SHARED(float, onward, K * THREADS);
    SHARED(float, backward, K * THREADS);
    SHARED(float, sums, SUMS);
    const int64 photo = blockIdx.y, photos = gridDim.y;
    const int turn = blockIdx.x * THREADS + threadIdx.x, turns = gridDim.x * THREADS;
    const Mixing mixing = {keep, take, temperature};
    for (int step = first; step < until; ++step) {
        const bool settled = step > 0 && last[photo] < step;
        const bool ends = step == iterations || (settled && until > first + 1);
        if (settled && !ends) return;  // a later launch ends it
        const Photo now = {costs + photo * K * NODES, tables + photo * CELLS * NODES, photos * CELLS * NODES,
                           messages + (step % 2 * photos + photo) * 4 * K * NODES,
                           messages + ((step + 1) % 2 * photos + photo) * 4 * K * NODES};
        if (ends) {
            int* const row = labels + (min(last[photo] + 1, iterations) * photos + photo) * NODES;
            for (int node = turn; node < NODES; node += turns) {
                row[node] = cheapest(now, node);
#pragma unroll 2
                for (int i = 0; i < K; ++i) beliefs[(photo * NODES + node) * K + i] = now.belief(i, node);
            }
            return;
        }
        bool changed = false;
        for (int edge = turn; edge < 2 * NODES; edge += turns) {
            const int way = edge >= NODES, node = edge - way * NODES;
            const bool there = way ? node + COLUMNS < NODES : node % COLUMNS + 1 < COLUMNS;
            int label = 0;
            if (there) {
                const Edge here(now, way, node);
                label = tell(now, here, onward, backward);
                if (SOFT) soften(now, here, temperature, onward, backward, sums);
                changed |= send(now, mixing, onward, here.there, here.next);
                changed |= send(now, mixing, backward, here.back, here.node);
            }
            if (!there && !way) label = cheapest(now, node);
            if (!way) labels[(step * photos + photo) * NODES + node] = label;
        }
        if (changed) last[photo] = step + 1;  // all write the same
        if (step + 1 < until) cluster_barrier();
    }
}
