"""One loop and its two stages."""
