"""`python -m gesturegen_speakers`."""

from .cli import main

if __name__ == "__main__":
    main()
