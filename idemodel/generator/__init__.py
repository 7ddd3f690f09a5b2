"""Stage 2: the MLA-GAN's networks, the generator's input, its files, sketching with it, torch's devices and threads."""
