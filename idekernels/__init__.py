"""Stage 1 of face photo-sketch synthesis as a library: photo planes in, coarse sketch out.

The public names stand once, in ``__init__.pyi``; docs/API.md explains them. A name's module is imported when the name
is first used, so ``import idekernels`` loads no numba, h5py or SciPy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
