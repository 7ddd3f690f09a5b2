"""Stage 2 and everything that knows about faces or files of faces; importing it loads no torch."""
