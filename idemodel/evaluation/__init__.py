"""Sketches judged: scores, recognition, statistics, and the reports that show them."""
