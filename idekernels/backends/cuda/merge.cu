// Merging lists of the K nearest: what runs of the bank's images gave, into the running list of every query.
//
// After common.cuh and nearest.cuh (variants.py puts the files together). Macros: KEPT (K), LANES, WORST.
//
// One warp a query; blocks (queries) of LANES threads.
//   distances  (splits, queries, KEPT) uint32, ascending; WORST: an empty entry
//   places     (splits, queries, KEPT) uint32, within the block of the bank that was searched
//   splits     int, lists of every query
//   queries    int, photos times nodes
//   origin     int64, the place of the block's first pixel in the whole bank: added to ``places``
//   distance   (queries, KEPT) uint32, the running list, read and written
//   place      (queries, KEPT) int64, its places in the whole bank, read and written
extern "C" __global__ void __launch_bounds__(LANES)
merge(const uint32* distances, const uint32* places, int splits, int queries, int64 origin, uint32* distance,
      int64* place) {
    const int lane = threadIdx.x, query = blockIdx.x;
    Nearest<int64> nearest;
    nearest.clear();
    for (int split = -1; split < splits; ++split) {
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int entry = slot * LANES + lane;
            const int64 own = (int64)query * KEPT + entry, theirs = ((int64)split * queries + query) * KEPT + entry;
            uint32 found = WORST;
            int64 where = 0;
            if (entry < KEPT) {
                found = split < 0 ? distance[own] : distances[theirs];
                where = split < 0 ? place[own] : origin + places[theirs];
            }
            nearest.offer(found != WORST, found, where);
        }
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int entry = slot * LANES + lane;
        if (entry < KEPT) {
            distance[(int64)query * KEPT + entry] = nearest.distance[slot];
            place[(int64)query * KEPT + entry] = nearest.place[slot];
        }
    }
}
