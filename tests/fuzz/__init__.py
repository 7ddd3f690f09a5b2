"""Hostile and broken files for every reader, read in a process of their own."""
