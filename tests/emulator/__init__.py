"""A CUDA device on the host: CUDA C++ in fibers, CuPy's part played by NumPy."""
