"""Files that cannot hurt: written whole or not at all, opened only where they are regular and of bounded size."""
