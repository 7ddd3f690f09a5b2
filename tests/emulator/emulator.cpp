// The emulator's fibers: who runs when, and what a GPU would not say. See emulator.h.
#undef _FORTIFY_SOURCE  // its longjmp takes a jump to another stack for an attack

#include "emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr size_t STACK = 256 * 1024;

// A thread's stack, and where it goes on. Made once: at its end it waits for the next block's work.
struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    jmp_buf place;  // jumps, since swapcontext asks the system at every change of hands
    bool begun = false;
};

// What one launch has: the clusters of its blocks come one after the other.
struct Launch {
    unsigned cluster = 1;
    unsigned first = 0;  // number of the cluster's first block, along x
    std::string error;
    void (*body)(void*) = nullptr;
    void* given = nullptr;
};

Block block;

static std::vector<Thread> threads;
static std::vector<Fiber> fibers;
static jmp_buf scheduler;
static Launch now;

static std::vector<Resettable*>& shared_arrays() {
    static std::vector<Resettable*> all;
    return all;
}

void add(Resettable* array) {
    shared_arrays().push_back(array);
}

static void wait() {
    if (!_setjmp(fibers[block.current].place)) _longjmp(scheduler, 1);
}

void fail(const char* format, ...) {
    char why[512], where[128];
    va_list given;
    va_start(given, format);
    vsnprintf(why, sizeof(why), format, given);
    va_end(given);
    snprintf(where, sizeof(where), " (thread %u of block %u, %u, %u)", threadIdx.x, blockIdx.x, blockIdx.y, blockIdx.z);
    if (now.error.empty()) now.error = std::string(why) + where;
    for (;;) wait();  // the scheduler does not come back here
}

void barrier(const char* file, int line, State where) {
    Thread& mine = threads[block.current];
    mine.state = where;
    mine.file = file;
    mine.line = line;
    wait();
}

unsigned exchange(const char* what, uint64_t value, bool vote) {
    Thread& mine = threads[block.current];
    mine.posted[mine.rounds % 2] = value;
    mine.voted[mine.rounds % 2] = vote;
    mine.what = what;
    mine.state = State::in_warp;
    wait();
    return mine.rounds++;
}

static void entry() {
    for (;;) {
        now.body(now.given);
        threads[block.current].state = State::done;
        wait();
    }
}

// Let a thread run until it waits, or ends.
static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = fiber.stack.get();
    start.uc_stack.ss_size = STACK;
    start.uc_link = nullptr;
    makecontext(&start, entry, 0);
    setcontext(&start);
}

static std::string place_of(const Thread& thread) {
    return std::string(thread.file) + ":" + std::to_string(thread.line);
}

// Whether all of these threads stand at one place, which then lets them go. Where none of them can go on otherwise, either
// all stand at one barrier, or the kernel would hang or worse.
static bool released(size_t first, size_t stop, State barrier) {
    for (size_t i = first; i < stop; ++i)
        if (threads[i].state == State::in_warp || threads[i].state == State::runnable) return false;
    const Thread* at = nullptr;
    for (size_t i = first; i < stop; ++i) {
        const Thread& thread = threads[i];
        if (thread.state == State::done) {
            now.error = "divergent barrier: a thread has ended while others wait";
            return false;
        }
        if (at && (thread.line != at->line || std::strcmp(thread.file, at->file))) {
            now.error = "divergent barrier: threads wait at " + place_of(*at) + " and at " + place_of(thread);
            return false;
        }
        at = &thread;
    }
    if (threads[first].state != barrier) return false;
    for (size_t i = first; i < stop; ++i) threads[i].state = State::runnable;
    return true;
}

static void release_barriers() {
    bool any = false;
    for (size_t of = 0; of < now.cluster; ++of) {  // a block whose threads have all ended waits for nothing
        const size_t first = of * blockDim.x, stop = first + blockDim.x;
        const bool ended = std::all_of(threads.begin() + first, threads.begin() + stop,
                                       [](const Thread& thread) { return thread.state == State::done; });
        if (!ended && now.error.empty() && released(first, stop, State::at_barrier)) {
            ++block.epochs[of];
            any = true;
        }
    }
    if (any || !now.error.empty() || !released(0, threads.size(), State::at_cluster)) return;
    for (unsigned& epoch : block.epochs) ++epoch;
}

static void release_warps() {
    for (size_t first = 0; first < threads.size(); first += WARP) {
        const size_t stop = std::min(first + WARP, threads.size());
        bool all = stop - first == WARP;
        for (size_t i = first; all && i < stop; ++i)
            all = threads[i].state == State::in_warp && threads[i].what == threads[first].what;
        if (!all) continue;
        for (size_t i = first; i < stop; ++i) threads[i].state = State::runnable;
    }
}

static void begin_cluster() {
    std::fill(block.epochs, block.epochs + MOST, 0u);
    for (Resettable* array : shared_arrays()) array->reset();
    for (Thread& thread : threads) {
        thread.state = State::runnable;
        thread.rounds = thread.syncs = 0;
    }
}

static void run_cluster(bool reverse) {
    begin_cluster();
    const int count = (int)threads.size();
    while (now.error.empty()) {
        bool moved = false, left = false;
        for (int i = 0; i < count && now.error.empty(); ++i) {
            const int which = reverse ? count - 1 - i : i;
            left |= threads[which].state != State::done;
            if (threads[which].state != State::runnable) continue;
            block.current = which;
            threadIdx.x = (unsigned)which % blockDim.x;
            blockIdx.x = now.first + rank();
            resume(fibers[which]);
            moved = true;
        }
        if (!left) return;
        if (moved || !now.error.empty()) continue;
        release_warps();
        release_barriers();  // of blocks that are ready, however far others are: those of a cluster are not in step
        bool runnable = false;
        for (Thread& thread : threads) runnable |= thread.state == State::runnable;
        if (!runnable && now.error.empty()) now.error = "divergent warp: lanes wait in different warp functions, or for ever";
    }
}

const char* launch(dim3 grid, unsigned count, unsigned cluster, bool reverse, void (*body)(void*), void* given) {
    if (grid.x % cluster || cluster > MOST || (cluster > 1 && count % WARP))
        return "blocks that are no multiple of a cluster, or clusters of blocks that are not of whole warps";
    now = Launch{cluster, 0, "", body, given};
    threads.assign(count * cluster, Thread());
    block.threads = threads.data();
    if (fibers.size() < threads.size()) fibers.resize(threads.size());
    for (Fiber& fiber : fibers) fiber.begun = false;  // a launch that failed has left some in the middle
    gridDim = grid;
    blockDim = dim3{count, 1, 1};
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x && now.error.empty(); x += cluster) {
                blockIdx = dim3{x, y, z};
                now.first = x;
                run_cluster(reverse);
            }
    static std::string told;
    told = now.error;
    return told.c_str();
}

const char* unfit(const unsigned* sizes, unsigned count, const size_t* taken, size_t most) {
    static std::string told;
    if (count != most) {
        told = std::to_string(count) + " arguments given, the kernel takes " + std::to_string(most);
        return told.c_str();
    }
    for (unsigned at = 0; at < count; ++at)
        if (sizes[at] != taken[at]) {
            told = "argument " + std::to_string(at) + " has " + std::to_string(sizes[at]) + " bytes, the kernel takes " +
                   std::to_string(taken[at]);
            return told.c_str();
        }
    return nullptr;
}

}  // namespace emulator
