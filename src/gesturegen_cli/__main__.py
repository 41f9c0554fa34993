"""`python -m gesturegen_cli` is the `gesturegen` command."""

from gesturegen_cli.cli.app import main

main()
