"""Timings and result tables: commands that anyone can run, and where every figure in the docs comes from."""
