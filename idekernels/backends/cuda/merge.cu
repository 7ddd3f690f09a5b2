// Merging lists of the K nearest: what runs of the bank's images gave, into the running list of every query.
//
// After common.cuh and nearest.cuh (variants.py puts the files together). Macros: KEPT (K), LANES, WORST.
//
// One warp a query; blocks (queries) of LANES threads.
//   distances  (splits, queries, KEPT) uint32, ascending; WORST: an empty entry
//   places     (splits, queries, KEPT) uint32, within the block of the bank that was searched
//   splits     int, lists of every query
//   queries    int, photos times nodes
//   first      int, the number of the block's first image in the whole bank
//   height, width  int, of an image: places are (image * height + row) * width + column
//   begun      int: 1 where the running list holds what other blocks gave; 0: it is not read
//   distance   (queries, KEPT) uint32, the running list, read where begun, written; WORST: an empty entry
//   image, row, column  (queries, KEPT) int, where its patches lie in the whole bank; -1 in empty entries
extern "C" __global__ void __launch_bounds__(LANES)
merge(const uint32* distances, const uint32* places, int splits, int queries, int first, int height, int width,
      int begun, uint32* distance, int* image, int* row, int* column) {
    const int lane = threadIdx.x, query = blockIdx.x;
    const int64 pixels = (int64)height * width;
    Nearest<int64> nearest;
    nearest.clear();
    for (int split = begun ? -1 : 0; split < splits; ++split) {
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            const int entry = slot * LANES + lane;
            const int64 own = (int64)query * KEPT + entry, theirs = ((int64)split * queries + query) * KEPT + entry;
            uint32 found = WORST;
            int64 where = 0;
            if (entry < KEPT) {
                found = split < 0 ? distance[own] : distances[theirs];
                where = split < 0 ? ((int64)image[own] * height + row[own]) * width + column[own]
                                  : first * pixels + places[theirs];
            }
            if (!begun && splits == 1) {  // sorted as it is
                nearest.distance[slot] = found;
                nearest.place[slot] = where;
            } else {
                nearest.offer(found != WORST, found, where);
            }
        }
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int entry = slot * LANES + lane;
        if (entry < KEPT) {
            const int64 own = (int64)query * KEPT + entry, which = nearest.place[slot] / pixels;
            const int pixel = (int)(nearest.place[slot] - which * pixels), down = pixel / width;
            const bool empty = nearest.distance[slot] == WORST;
            distance[own] = nearest.distance[slot];
            image[own] = empty ? -1 : (int)which;
            row[own] = empty ? -1 : down;
            column[own] = empty ? -1 : pixel - down * width;
        }
    }
}
