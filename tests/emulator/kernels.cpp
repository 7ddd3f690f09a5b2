// The kernels of match.cu as functions that Python calls: grid, threads, order, then the kernel's own arguments.
#include "emulator.h"

#include KERNELS

extern "C" const char* run_match(const unsigned* grid, unsigned threads, int reverse, const uint8* bank, int images,
                                 const uint8* query, const int* rows, int row_count, const int* columns, int column_count,
                                 const uint8* barred, const uint32* weights, int splits, uint32* distances, uint32* places) {
    return emulator::launch({grid[0], grid[1], grid[2]}, threads, reverse, [=] {
        match(bank, images, query, rows, row_count, columns, column_count, barred, weights, splits, distances, places);
    });
}

extern "C" const char* run_merge(const unsigned* grid, unsigned threads, int reverse, const uint32* distances,
                                 const uint32* places, int splits, int queries, int64 first, uint32* distance, int64* place) {
    return emulator::launch({grid[0], grid[1], grid[2]}, threads, reverse, [=] {
        merge(distances, places, splits, queries, first, distance, place);
    });
}
