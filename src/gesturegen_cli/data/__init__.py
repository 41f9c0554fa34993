"""Datasets on disk and what is read from them: clips, pairs, windows, features."""
