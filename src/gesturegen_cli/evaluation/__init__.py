"""Measuring generated videos: image quality, motion statistics and the agreement of motion with speech."""
