"""Denoisers for gesturegen, found by entry point: `unet1d` (convolutions over time) and `dit` (adaLN-Zero)."""
