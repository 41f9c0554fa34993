"""Shared by all tests: the package is imported before torchaudio, whose CPU remedy it installs."""

from __future__ import annotations

import gesturegen_cli  # noqa: F401 - imported for its effect, see above
