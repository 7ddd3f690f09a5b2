"""Sketches over HTTP: a page for people and an interface for programs; photos stay in memory, no file is written."""
