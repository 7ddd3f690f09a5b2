// Kernels as functions that Python calls by name: grid, threads, order, then pointers to the arguments, as a driver takes
// them, with their sizes. host.py writes KERNELS: a CUDA C++ source, and EMULATED(name) for each of its kernels.
#include "emulator.h"

namespace emulator {

template <typename... Arguments>
struct Call {
    void (*kernel)(Arguments...);
    void** values;

    template <size_t... I>
    void run(std::index_sequence<I...>) {
        kernel(*static_cast<Arguments*>(values[I])...);
    }
    static void body(void* call) { static_cast<Call*>(call)->run(std::index_sequence_for<Arguments...>()); }
};

template <typename... Arguments>
const char* call(void (*kernel)(Arguments...), const unsigned* grid, unsigned threads, int reverse, void** values,
                 const unsigned* sizes, unsigned count) {
    constexpr size_t taken[] = {sizeof(Arguments)...};
    if (const char* told = unfit(sizes, count, taken, sizeof...(Arguments))) return told;
    Call<Arguments...> made{kernel, values};
    return launch({grid[0], grid[1], grid[2]}, threads, CLUSTER, reverse != 0, made.body, &made);
}

}  // namespace emulator

#define EMULATED(name)                                                                                        \
    extern "C" __attribute__((visibility("default"))) const char* run_##name(                                 \
        const unsigned* grid, unsigned threads, int reverse, void** values, const unsigned* sizes, unsigned count) { \
        return emulator::call(name, grid, threads, reverse, values, sizes, count);                            \
    }

#include KERNELS
