"""Speech, pictures and videos of the user: read them safely, write videos completely."""
