"""Thin-plate-spline motion for gesturegen: deviation model `tps`, denoiser `lmdm`, importers `tpsm` and `s2g`."""
