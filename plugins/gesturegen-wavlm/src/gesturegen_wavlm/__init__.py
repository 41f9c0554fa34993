"""Audio encoders for gesturegen that listen with a pretrained speech model, and the features of S2G-MDDiffusion."""

import gesturegen_cli  # noqa: F401 - first, as it lets torchaudio import beside a CPU build of torch
