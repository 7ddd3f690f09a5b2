// Where the nodes of a PatchGrid lie (idekernels/grid.py), so that no kernel reads a table of them.

// Of an axis' first pixels: every STEP, the last at ``last``, where the patch ends with the image.
__device__ __forceinline__ int anchor(int number, int step, int last) {
    return min(number * step, last);
}
