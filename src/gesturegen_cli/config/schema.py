"""The configuration tree. Every field has a default, a type, and where it matters a range or choices.

`Config` is the root; each command reads the parts it needs. Parameters of plugins are free here and are
checked against the plugin's own nested `Config` when it is built (registry.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gesturegen_cli.errors import ConfigError


def ranged(default: float, low: float | None = None, high: float | None = None) -> Any:
    """A numeric field with an inclusive range."""
    return field(default=default, metadata={"low": low, "high": high})


def choice(default: str, *choices: str) -> Any:
    """A text field with a fixed set of values."""
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class Component:
    """A plugin by name, with the parameters for its `Config`."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """The fixed-length unit of stage 2."""

    frames: int = ranged(80, 8, 1000)
    """Frames per window, t."""
    seed_frames: int = ranged(4, 1, 32)
    """Frames of history before the window, s."""
    stride: int = ranged(10, 1, 1000)
    """Frames between the starts of training windows."""


@dataclass(frozen=True)
class Diffusion:
    """Training objective of stage 2."""

    train_timesteps: int = ranged(1000, 10, 10000)
    beta_schedule: str = choice("squaredcos_cap_v2", "squaredcos_cap_v2", "linear", "scaled_linear")
    velocity_weight: float = ranged(1.0, 0)
    acceleration_weight: float = ranged(1.0, 0)
    audio_dropout: float = ranged(0.25, 0, 1)
    """Probability that a training sample sees no audio; makes guidance possible."""
    seed_noise: float = ranged(0.02, 0)
    """Standard deviation, in normalised units, of the noise on seed frames while training."""
    static_start: float = ranged(0.1, 0, 1)
    """Probability that a training window follows the source held still, as the first window of a video does."""


MACHINE_KEYS = ("render_batch", "render_precision")
"""Keys of `Sampling` that each machine chooses: no bundle recommends them."""


@dataclass(frozen=True)
class Sampling:
    """How motion is drawn and rendered."""

    scheduler: str = choice("ddim", "ddim", "ddpm", "dpm-solver++", "unipc")
    steps: int = ranged(20, 1, 1000)
    eta: float = ranged(0.0, 0, 1)
    """Share of fresh noise in every step of ddim: 0 none, 1 as much as ddpm."""
    guidance: float = ranged(1.5, 0, 20)
    energy: float = ranged(1.0, 0, 3)
    """Scale of the movement about the speaker's pose in the picture; 1 leaves it as generated."""
    clip: float = ranged(5.0, 0.1)
    """Predicted motion is clipped to this many standard deviations."""
    candidates: int = ranged(1, 1, 64)
    """Motions drawn for every window but the first; the smoothest continuation is kept. Time grows with them."""
    overlap: int = ranged(10, 0, 999)
    """Frames that neighbouring windows share and fade across, fewer than the bundle's window.frames; 0 only chains."""
    render_batch: int = ranged(8, 1, 256)
    render_precision: str = choice("auto", "auto", "fp32", "bf16")
    """In which numbers frames are computed; auto is bf16 where the CPU multiplies them much faster (AMX), else fp32."""

    def __post_init__(self) -> None:
        if self.eta > 0 and self.scheduler != "ddim":
            found = f"sampling.eta = {self.eta} with the scheduler {self.scheduler}, only ddim has it"
            raise ConfigError(found, "--set sampling.eta=0, or sampling.scheduler=ddim")


@dataclass(frozen=True)
class Training:
    """One training run of either stage."""

    steps: int = ranged(10_000, 1)
    batch: int = ranged(16, 1)
    optimizer: str = choice("adamw", "adamw", "adan")
    """adan (Xie et al. 2022) is that of EDGE and S2G-MDDiffusion; it needs gesturegen[adan]."""
    learning_rate: float = ranged(1e-4, 0)
    warmup: int = ranged(100, 0)
    lr_schedule: str = choice("cosine", "cosine", "constant", "linear", "step")
    """`step` divides the rate by 10 at 70 % and again at 90 % of the steps; it has no warm-up."""
    weight_decay: float = ranged(1e-4, 0)
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of adamw."""
    adan_betas: tuple[float, float, float] = (0.98, 0.92, 0.99)
    """Decay rates of adan: of gradients, their differences and their squares. Papers also write 1 - beta: 0.02, ..."""
    clip_norm: float = ranged(5.0, 0)
    ema_decay: float = ranged(0.999, 0, 1)
    grad_accumulation: int = ranged(1, 1)
    precision: str = choice("no", "no", "bf16")
    workers: int = ranged(1, 0, 128)
    """Loader processes; 0 loads in the training process."""
    threads: int = ranged(0, 0, 256)
    """CPU threads of the training process; 0 leaves torch's choice."""
    log_every: int = ranged(20, 1)
    save_every: int = ranged(500, 1)
    sample_every: int = ranged(1000, 1)
    keep_checkpoints: int = ranged(2, 1)
    bundle_dtype: str = choice("float32", "float32", "float16")
    """Type of the weights in `RUN/bundle`; checkpoints are always exact."""
    max_nonfinite: int = ranged(10, 0)
    """Steps in a row with a non-finite gradient that are skipped before the run stops."""


@dataclass(frozen=True)
class DeviationLoss:
    """Weights of the stage 1 losses; those with labels count only where the data has labels.

    Models with losses of their own (`flow`, the plugin `tps`) take those up to `articulation`; every other model takes
    `image`, `gradient` and those from `moving` on.
    """

    image: float = ranged(8.0, 0)
    gradient: float = ranged(4.0, 0)
    """Differences between neighbouring pixels at three scales: a fixed stand-in for a perceptual loss."""
    texture: float = ranged(4.0, 0)
    """Contrast around each pixel, for `flow` where the data has labels: without it, what is unsure is blurred."""
    synthetic: float = ranged(2.0, 0)
    warped: float = ranged(3.0, 0)
    photometric: float = ranged(4.0, 0)
    equivariance: float = ranged(2.0, 0)
    anchor: float = ranged(0.5, 0)
    """Distance of the motion from that of the bundle given with --init, where the data has no labels."""
    blend: float = ranged(0.3, 0)
    joints: float = ranged(10.0, 0)
    heatmap: float = ranged(0.3, 0)
    layers: float = ranged(0.5, 0)
    composed: float = ranged(0.7, 0)
    flow: float = ranged(1.0, 0)
    visibility: float = ranged(0.5, 0)
    hand_weight: float = ranged(3.0, 0)
    """Extra weight of hands in the image losses of `flow`, where labels say where hands are."""
    details: float = ranged(8.0, 0)
    """Pixels in the crops around face and hands, for a `flow` with `painter_channels`."""
    articulation: float = ranged(0.5, 0)
    """What its codes say of jaw, lips, lids, gaze and fingers, where labels know it."""
    moving: float = ranged(10.0, 0)
    """L1 weighted by how much source and driving frame differ: still backgrounds do not count."""
    hands: float = ranged(5.0, 0)
    """L1 inside the boxes of the hands, where labels have them; as much for a small box as for a large one."""
    mouth: float = ranged(5.0, 0)
    """L1 inside the box of the mouth, likewise."""
    vgg19: str = ""
    """Weights file of VGG-19 in torchvision's layout (.pth or .safetensors): switches the perceptual loss on."""
    perceptual: float = ranged(10.0, 0)
    """Distance of VGG-19 features, with `vgg19` only."""
    deviation: float = ranged(0.01, 0)
    """Size and roughness of the deviation, for models that have a measure of it."""
    depth: float = ranged(0.3, 0)
    """Roughness along the depth of the volume that `rotation` warps."""
    pose: float = ranged(10.0, 0)
    """Joints as `rotation`'s coach reads them out of the motion, where labels have them."""
    parts: float = ranged(3.0, 0)
    """Layers of the driving frame as the coach reads them out of the moved features, likewise."""
    still_steps: int = ranged(0, 0)
    """Steps at the start in which the source is also the driving frame and nothing moves: copying is learned first."""
    cycle: float = ranged(0.0, 0)
    """Distance of the motion seen in the output from the motion it was made from."""
    adversarial: float = ranged(0.0, 0)
    """A patch discriminator judges the output; 0 trains none."""
    matching: float = ranged(10.0, 0)
    """Distance of the discriminator's features of output and driving frame."""
    adversarial_start: int = ranged(3000, 0)
    """Steps before the discriminator comes in."""


@dataclass(frozen=True)
class Preprocess:
    """Videos to clips."""

    fps: int = ranged(25, 1, 120)
    size: int = ranged(256, 64, 1024)
    min_seconds: float = ranged(2.0, 0.2)
    max_seconds: float = ranged(15.0, 0.5)
    scene_threshold: float = ranged(0.3, 0, 1)
    """Change between neighbouring frames (0 none, 1 all) that counts as a cut."""
    min_speech: float = ranged(0.1, 0, 1)
    """Least share of a clip that must be louder than the noise floor; 0 keeps silent clips too."""
    validation: float = ranged(0.05, 0, 0.5)
    test: float = ranged(0.05, 0, 0.5)
    workers: int = ranged(0, 0, 256)
    """Worker processes; 0 means one per core."""


@dataclass(frozen=True)
class Evaluation:
    """The protocol of `evaluate`: how every video is looked at. Scores are comparable only where it is the same."""

    fps: int = ranged(25, 5, 120)
    """Frame rate to which every video is resampled."""
    size: int = ranged(256, 32, 1024)
    """Side in pixels of the square that is compared."""
    crop: str = choice("speaker", "speaker", "middle")
    """The square of a video that is not square: around the speaker of its first frame, or its middle."""
    frames: int = ranged(0, 0)
    """Frames of each video that count, from its start; 0 all."""
    clips: int = ranged(0, 0)
    """Reference clips that are used, drawn with `rng_seed`; 0 all."""
    metrics: str = "all"
    """`all`, `paper`, `fast`, or names with commas between them."""
    window: int = ranged(64, 34, 80)
    """Frames of the windows of poses behind FGD and DIV: 34, 64 or 80."""
    stride: int = ranged(16, 1, 1000)
    """Frames between the starts of these windows."""
    fgd_steps: int = ranged(2000, 1)
    """Training steps of the autoencoder that `--fit-fgd` fits."""
    bootstrap: int = ranged(1000, 0, 100_000)
    """Resamplings of the clips behind the intervals; 0 gives none."""


@dataclass(frozen=True)
class Config:
    """Everything that can be set."""

    rng_seed: int = ranged(0, 0, 2**63 - 1)
    device: str = choice("auto", "auto", "cpu", "cuda")
    deviation: Component = Component("flow")
    audio_encoder: Component = Component("log-mel")
    denoiser: Component = Component("transformer")
    window: Window = Window()
    diffusion: Diffusion = Diffusion()
    sampling: Sampling = Sampling()
    pretrain: Training = Training(learning_rate=1e-3, batch=10, ema_decay=0.995)
    train: Training = Training(batch=64, learning_rate=2e-4, clip_norm=1.0)
    deviation_loss: DeviationLoss = DeviationLoss()
    preprocess: Preprocess = Preprocess()
    evaluation: Evaluation = Evaluation()
