"""Digital speakers: rendered half-body people who gesture to speech, written as a gesturegen dataset with labels."""

__version__ = "0.1.0"
