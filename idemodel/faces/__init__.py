"""Faces as files and as drawings: pairs folders, images read and written, phantom faces."""
