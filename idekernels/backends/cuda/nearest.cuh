// The K nearest patches of one query, kept by a whole warp in registers.
//
// Entry e lies in slot e / LANES of lane e % LANES, ascending by (distance, place): ties go to the lower place, so
// that no order of work changes a result. Place is uint32 (within a block of the bank) or int64 (within the whole
// bank). All member functions but ``accepts`` are called by all lanes of the warp together. Macros: KEPT (K), LANES,
// WORST.

constexpr int SLOTS = (KEPT + LANES - 1) / LANES;  // entries of a lane

template <typename Place>
struct Nearest {
    uint32 distance[SLOTS];
    Place place[SLOTS];
    uint32 worst;  // the KEPT-th entry, known to all lanes
    Place worst_place;

    // Empty the list: WORST distances, at the highest place there is.
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int slot = 0; slot < SLOTS; ++slot) {
            distance[slot] = WORST;
            place[slot] = ~Place(0) > Place(0) ? ~Place(0) : Place(0x7fffffffffffffffLL);
        }
        worst = WORST;
        worst_place = place[0];
    }

    // Whether a patch would be kept.
    __device__ __forceinline__ bool accepts(uint32 found, Place where) const {
        return found < worst || (found == worst && where < worst_place);
    }

    // Insert one patch: all lanes give the same.
    __device__ __forceinline__ void insert(uint32 found, Place where) {
        const int lane = threadIdx.x % LANES;
#pragma unroll
        for (int slot = SLOTS - 1; slot >= 0; --slot) {
            uint32 before = __shfl_up_sync(FULL, distance[slot], 1);
            Place before_place = __shfl_up_sync(FULL, place[slot], 1);
            if (slot > 0) {
                const uint32 carried = __shfl_sync(FULL, distance[slot > 0 ? slot - 1 : 0], LANES - 1);
                const Place carried_place = __shfl_sync(FULL, place[slot > 0 ? slot - 1 : 0], LANES - 1);
                before = lane == 0 ? carried : before;
                before_place = lane == 0 ? carried_place : before_place;
            }
            const bool stays = distance[slot] < found || (distance[slot] == found && place[slot] < where);
            const bool first = slot == 0 && lane == 0;
            const bool here = first || before < found || (before == found && before_place < where);
            distance[slot] = stays ? distance[slot] : here ? found : before;
            place[slot] = stays ? place[slot] : here ? where : before_place;
        }
        worst = __shfl_sync(FULL, distance[SLOTS - 1], (KEPT - 1) % LANES);
        worst_place = __shfl_sync(FULL, place[SLOTS - 1], (KEPT - 1) % LANES);
    }

    // Offer one patch a lane, a different one each; it counts where ``good``.
    __device__ __forceinline__ void offer(bool good, uint32 found, Place where) {
        uint32 better = __ballot_sync(FULL, good && accepts(found, where));
        while (better) {
            const int lane = __ffs(better) - 1;
            better &= better - 1;
            const uint32 given = __shfl_sync(FULL, found, lane);
            const Place given_place = __shfl_sync(FULL, where, lane);
            if (accepts(given, given_place)) insert(given, given_place);
        }
    }
};
