"""Stage 2 and everything that knows about faces or files of faces: a photo in, a sketch out, and scores.

The public names stand once, in ``__init__.pyi``; docs/API.md explains them. A name's module is imported when the name
is first used, so ``import idemodel`` loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
