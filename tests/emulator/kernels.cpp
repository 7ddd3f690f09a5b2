// Kernels as functions that Python calls by name: grid, threads, order, then pointers to the arguments, as a driver takes
// them, with their sizes. host.py writes KERNELS: a CUDA C++ source, and EMULATED(name) for each of its kernels.
#include "emulator.h"

#include <utility>

namespace emulator {

template <typename... Arguments, size_t... I>
const char* call(void (*kernel)(Arguments...), dim3 grid, unsigned threads, bool reverse, void** values,
                 const unsigned* sizes, unsigned count, std::index_sequence<I...>) {
    static std::string told;
    constexpr size_t taken[] = {sizeof(Arguments)...};
    if (count != sizeof...(Arguments)) {
        told = std::to_string(count) + " arguments given, the kernel takes " + std::to_string(sizeof...(Arguments));
        return told.c_str();
    }
    for (unsigned at = 0; at < count; ++at)
        if (sizes[at] != taken[at]) {
            told = "argument " + std::to_string(at) + " has " + std::to_string(sizes[at]) + " bytes, the kernel takes " +
                   std::to_string(taken[at]);
            return told.c_str();
        }
    return launch(grid, threads, reverse, [=] { kernel(*static_cast<Arguments*>(values[I])...); });
}

template <typename... Arguments>
const char* call(void (*kernel)(Arguments...), const unsigned* grid, unsigned threads, int reverse, void** values,
                 const unsigned* sizes, unsigned count) {
    return call(kernel, {grid[0], grid[1], grid[2]}, threads, reverse != 0, values, sizes, count,
                std::index_sequence_for<Arguments...>());
}

}  // namespace emulator

#define EMULATED(name)                                                                                        \
    extern "C" const char* run_##name(const unsigned* grid, unsigned threads, int reverse, void** values,     \
                                      const unsigned* sizes, unsigned count) {                                \
        return emulator::call(name, grid, threads, reverse, values, sizes, count);                            \
    }

#include KERNELS
