"""Faces in photos: eyes found or given, photos aligned by them, and brought to a bank's light and background."""
