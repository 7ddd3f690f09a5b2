// Grey levels as shares of the highest.

// Clipped to 0 .. 1.
__device__ __forceinline__ float share_of(float level, float most) {
    return min(max(level / most, 0.0f), 1.0f);
}
