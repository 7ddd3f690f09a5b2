"""A CUDA device on the host: CUDA C++ in fibers, Numba's kernels in its simulator, CuPy's part played by NumPy."""
