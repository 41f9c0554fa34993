"""How exactly each metric was measured, in words, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gesturegen_cli.evaluation import beat, compare, pose, regions, stability
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.pose_space import PoseAutoencoder
from gesturegen_cli.evaluation.view import BATCH

if TYPE_CHECKING:
    from gesturegen_cli.evaluation.evaluate import Tools
    from gesturegen_cli.evaluation.scoring import Yardstick

_PER_FRAME = "mean over frames, then over clips"
_POOLED = "mean over all such pixels of a clip, then over clips"
_BOXES = "boxes from the dataset's labels where it has some, else from the estimator's joints in the reference"
_HANDS = (
    f"{_BOXES}, in stretches of {BATCH} frames in which it is sure of a hand (mean certainty of its joints "
    f"{pose.HANDS_SEEN_FROM:g} and more)"
)


def describe_metrics(tools: Tools, measure: Yardstick) -> dict[str, str]:
    """Metric -> its definition with all parameters."""
    windows = f"windows of {measure.window} frames every {measure.stride}"
    poses = (
        f"joints found by '{tools.estimator.name}', smoothed with sigma {pose.SMOOTHING:g} frames, about the neck, "
        "in shoulder widths"
    )
    if isinstance(measure.space, PoseAutoencoder):
        count = measure.space.training["windows"]
        space = f"32 of the autoencoder {measure.space.digest[:12]}..., fitted on {count:g} windows"
    else:
        space = "up to 32 principal components of the reference's windows"
    exact = {
        "psnr": f"{_PER_FRAME}; at most 100 dB",
        "ssim": f"K1 0.01, K2 0.03, data range 1, windows inside the picture, channels averaged; {_PER_FRAME}",
        "lpips": f"AlexNet v0.1 on pictures in [-1, 1]; {_PER_FRAME}",
        "l1": f"RGB in [0, 1]; {_PER_FRAME}",
        "hand_l1": f"{_HANDS}; {_POOLED}",
        "hand_psnr": f"{_HANDS}; {_PER_FRAME}",
        "mouth_l1": f"{_BOXES}; {_POOLED}",
        "moving_l1": f"where the mean difference over 5 x 5 pixels (at 256 pixels) exceeds {regions.MOVED:g}, grown by "
        f"9 x 9; {_POOLED}; clips of which less than {compare.LEAST_MOVING:.1%} moves do not count",
        "sharpness": "mean square of the Laplacian of grey values over that of the reference; 1 is as sharp",
        "hand_sharpness": f"the same; {_HANDS}",
        "fgd": f"{windows} of poses: {poses}; features: {space}; squared distance of Gaussians, float64; small sets "
        "are far apart by chance, which the interval takes off, so that it may lie below the value",
        "div": f"features as for FGD; all pairs of {windows}",
        "fvd": "I3D features of consecutive clips of 16 frames; squared distance of Gaussians, float64",
        "fvd_self": "features of consecutive clips of 16 frames by the network that comes with gesturegen; not "
        "comparable with FVD; squared distance of Gaussians, float64",
        "bas": f"mean over onsets of exp(-d^2 / (2 x {beat.SIGMA:g}^2)), d in frames to the nearest minimum of the "
        f"mean speed of the joints, smoothed with sigma {beat.SMOOTHING:g} frames; onsets: peaks of the rise of 40 log "
        "mel bands at which the sound gets louder (not librosa's detector)",
        "bas_chance": "mean BAS of the same minima shifted round in time",
        "bc": "mean over onsets of exp(-d^2 / (2 x 0.1^2)), d in seconds to the nearest pause of the angles between "
        "bones, each divided by its mean change in the reference; pauses: minima with a drop of at least 0.03",
        "silence": "mean speed in pauses of 0.3 s and more over mean speed in speech",
        "speed": poses,
        "jerk": f"third differences; {poses}",
        "range": f"from the 5 % to the 95 % place of each wrist; {poses}",
        "seam": "step of the pose into the first frame of a window over the clip's median step",
        "flicker": "outside generous capsules around the joints, of the picture averaged to "
        f"{4 * stability.GRID} x {4 * stability.GRID} pixels where it is larger",
        "colour_drift": "slope of the mean of each channel, mean of their sizes; clips of "
        f"{stability.LEAST_SECONDS:g} s and more",
        "face_drift": f"slope of 1 - correlation with the head of the first second; clips of "
        f"{stability.LEAST_SECONDS:g} s and more",
        "length": "decoded frames at the protocol's rate against round(seconds of speech x rate)",
        "sync": "shift within 0.5 s at which onset strengths correlate most; within 5 s and half the clip where none "
        "gives a correlation of 0.5, and 5000 ms where none does there; clips of 2 s and more",
    }
    return {key: f"{METRICS[key].about}: {text}" for key, text in exact.items()}
