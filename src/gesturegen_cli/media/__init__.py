"""Speech, pictures and videos in and out; ffmpeg is reached from here only."""
