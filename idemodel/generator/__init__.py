"""Stage 2: the MLA-GAN generator, what goes into it, its files, and sketching with it."""
