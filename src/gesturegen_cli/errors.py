"""Errors a user can cause. Each says what was found, what was expected, and what to do next.

    GesturegenError            exit code
    ├── ConfigError            2   usage or configuration: unknown key, wrong type, unknown plugin name
    ├── InputError             3   a file given by the user is bad: speech, picture, video, motion, dataset
    │   └── BundleError        3   a model bundle is damaged, incomplete or of another kind
    ├── EnvironmentFault       4   the machine says no: disk full, read-only folder, missing package, broken plugin
    ├── OutOfMemory            5   not enough memory for the request
    ├── BatchFailure           6   a batch finished, some of its items failed
    └── QualityFailure         7   a quality gate was not met

Anything else that escapes is a bug and exits with 1. Ctrl-C exits with 130, SIGTERM with 143.
"""

from __future__ import annotations


class GesturegenError(Exception):
    """Base of every error meant for the user.

    `message` carries the offending value and the expectation, `hint` the next thing to try.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(GesturegenError):
    """Usage or configuration is wrong."""

    exit_code = 2


class InputError(GesturegenError):
    """A file or folder named by the user cannot be used."""

    exit_code = 3


class BundleError(InputError):
    """A model bundle is damaged, incomplete or of a kind that does not fit."""


class EnvironmentFault(GesturegenError):
    """The machine, its disk or its packages prevent the work."""

    exit_code = 4


class OutOfMemory(GesturegenError):
    """The request needs more memory than there is."""

    exit_code = 5


class BatchFailure(GesturegenError):
    """A batch finished and some of its items failed."""

    exit_code = 6


class QualityFailure(GesturegenError):
    """A result exists and does not meet the gate asked for."""

    exit_code = 7
