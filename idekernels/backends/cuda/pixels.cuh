// Rows of uint8 images (images, PLANES, HEIGHT, PITCH), read four pixels at a time from any column on.
// Macros: PLANES, HEIGHT, PITCH (bytes of an image row in memory, a multiple of 4).

constexpr int PITCH_WORDS = PITCH / 4;

// Four bytes of an image row (PITCH_WORDS) from any byte on; zeros beyond its ends.
__device__ __forceinline__ uint32 aligned_word(const uint32* row, int byte) {
    const int word = byte >> 2, apart = 8 * (byte & 3);
    const uint32 low = word >= 0 && word < PITCH_WORDS ? row[word] : 0u;
    const uint32 high = word + 1 >= 0 && word + 1 < PITCH_WORDS ? row[word + 1] : 0u;
    return __funnelshift_r(low, high, apart);
}

// One pixel row (PITCH_WORDS) of a plane of an image.
__device__ __forceinline__ const uint32* image_row(const uint8* images, int64 image, int plane, int row) {
    return reinterpret_cast<const uint32*>(images + ((image * PLANES + plane) * HEIGHT + row) * (int64)PITCH);
}
