"""Safe files: written whole or not at all, opened for reading only where they are regular and of bounded size."""
