"""Configuration: one tree of frozen dataclasses, filled from presets, YAML files and the command line."""
