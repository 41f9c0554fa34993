"""From what the user named to checked tensors: find the file, check its sha256, read it, map its names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.media.files import printable, require_file, shown
from gesturegen_cli.types import SAMPLE_RATE
from gesturegen_wavlm.layouts import Layout, build_skeleton
from gesturegen_wavlm.names import find_dialect, find_family, plain_names, to_torchaudio

FOLDERS = "GESTUREGEN_WEIGHTS"
"""Environment variable: folders, separated as in PATH, in which weights are looked up by their base name."""
OPTION = "--set audio_encoder.params.weights=FILE"
IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
"""Weights files of a Hugging Face folder, the preferred one first."""
LISTED = 4
"""Misfits that an error shows."""
MAX_JSON = 1_000_000
"""Bytes of a config.json."""
FAIRSEQ_EPSILON, HUGGING_FACE_EPSILON = 1e-5, 1e-7
"""Added to the variance of the wave where it is normalised, by the two families of code."""


@dataclass(frozen=True)
class Weights:
    """Tensors of a speech model, float32 on the CPU, under torchaudio's names."""

    tensors: Mapping[str, Tensor]
    normalize: bool
    """Whether the model was trained on waves of zero mean and unit variance, as far as the file says."""
    epsilon: float
    """Added to that variance."""
    sha256: str
    """Of the weights file."""


def find_weights(weights: str, layout: Layout) -> Path:
    """The weights file that `weights` means: itself, the one in that folder, or of that name in `GESTUREGEN_WEIGHTS`.

    Raises ConfigError when nothing is named and InputError when it is not there.
    """
    hint = f"{OPTION}, or put it into a folder named by the environment variable {FOLDERS}"
    if not weights:
        raise ConfigError(f"audio encoder '{layout.name}' has no weights, it needs {layout.wanted}", hint)
    path = Path(os.path.expanduser(weights))
    if not os.path.exists(path):
        folders = [Path(folder) for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
        candidates = [folder / path.name for folder in folders]
        found = next((candidate for candidate in candidates if os.path.exists(candidate)), None)
        if found is None:
            where = f"nor in {len(folders)} folders of {FOLDERS}" if folders else f"and {FOLDERS} is not set"
            raise InputError(
                f"weights {shown(path)!r} of audio encoder '{layout.name}' are not there, {where}; "
                f"expected {layout.wanted}",
                hint,
            )
        path = found
    if not os.path.isdir(path):
        return path
    file = next((path / name for name in IN_FOLDER if os.path.exists(path / name)), None)
    if file is None:
        raise InputError(f"folder {shown(path)!r} has no {' or '.join(IN_FOLDER)}", f"expected {layout.wanted}")
    return file


def read_weights(layout: Layout, weights: str, sha256: str = "") -> Weights:
    """Find, check and read the weights of `layout`. `sha256` is what the file must have, "" for any.

    Raises ConfigError (nothing named) and InputError: missing, damaged, another file than that of `sha256`, another
    model, tensors that are missing, unexpected, misshapen or not finite, or a pickle with code in it.
    """
    file, _ = require_file(find_weights(weights, layout), "weights")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if sha256 and digest != sha256.lower():
        raise InputError(
            f"weights {shown(file)!r} have sha256 {digest[:12]}..., expected {printable(sha256[:12])}...",
            "give the file that the model was trained with, or clear audio_encoder.params.sha256 to take this one",
        )
    top = read_checkpoint(file)
    inner = next((top[key] for key in ("model", "state_dict") if isinstance(top.get(key), Mapping)), top)
    found = named_tensors(inner, file)
    plain = plain_names(found)
    dialect = find_dialect(plain)
    if dialect is None:
        first = printable(next(iter(found)))
        raise InputError(
            f"weights {shown(file)!r} are of no speech model known here (they begin with {first!r})",
            f"expected {layout.wanted}",
        )
    _check_family(layout, find_family(found), file)
    tensors = _fit(layout, to_torchaudio(plain, dialect, layout), file)
    normalize, epsilon = layout.large, FAIRSEQ_EPSILON
    if dialect == "original":
        normalize = _read_training_config(top.get("cfg"), normalize)
    elif dialect == "Hugging Face":
        normalize, epsilon = _read_sidecars(layout, file), HUGGING_FACE_EPSILON
    return Weights(tensors, normalize, epsilon, digest)


def _fit(layout: Layout, tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Exactly the tensors of the network, as float32 of their own memory; InputError lists what does not fit."""
    own = build_skeleton(layout).state_dict()
    wrong = [f"missing {name}" for name in own if name not in tensors]
    wrong += [f"unexpected {printable(name)}" for name in tensors if name not in own]
    for name in own:
        if name in tensors and tensors[name].shape != own[name].shape:
            wrong.append(f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}")
        elif name in tensors and not tensors[name].is_floating_point():
            wrong.append(f"{name} holds {tensors[name].dtype}, expected floating-point numbers")
    if wrong:
        more = f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise InputError(
            f"weights {shown(file)!r} do not fit '{layout.name}': {'; '.join(wrong[:LISTED])}{more}",
            f"expected {layout.wanted}",
        )
    # Files are mapped into memory. A copy stays as it is whatever happens to the file.
    copies = {name: tensors[name].to(torch.float32, copy=True) for name in own}
    broken = next((name for name, value in copies.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise InputError(f"weights {shown(file)!r}: {broken} holds values that are not finite", "fetch the file again")
    return copies


def _check_family(layout: Layout, family: str | None, file: Path) -> None:
    if family is not None and family != layout.family:
        raise InputError(
            f"weights {shown(file)!r} are those of a {printable(family[:40])} model, expected {layout.family}",
            f"audio encoder '{layout.name}' takes {layout.wanted}",
        )


def _read_training_config(config: object, otherwise: bool) -> bool:
    """`normalize` of an original checkpoint's cfg; newer files have it under `task`. `otherwise` where it says nothing.

    Older ones keep an argparse.Namespace, which is not read.
    """
    levels = [config, config.get("task")] if isinstance(config, Mapping) else []
    told = [level["normalize"] for level in levels if isinstance(level, Mapping) and "normalize" in level]
    return told[0] if told and isinstance(told[0], bool) else otherwise


def _read_sidecars(layout: Layout, file: Path) -> bool:
    """Whether to normalise, from the JSON files beside Hugging Face weights; InputError when they tell another model.

    `do_normalize` of preprocessor_config.json decides. Without it, `feat_extract_norm` does: models with layer norms in
    their convolutions were trained on normalised waves.
    """
    model = _read_json(file.with_name("config.json"))
    _check_family(layout, str(model["model_type"]) if "model_type" in model else None, file)
    expected = {
        "hidden_size": layout.width,
        "num_hidden_layers": layout.layers,
        "num_attention_heads": layout.heads,
        "intermediate_size": layout.feedforward,
        "num_conv_pos_embeddings": layout.position_kernel,
        "num_conv_pos_embedding_groups": layout.position_groups,
        "do_stable_layer_norm": layout.large,
        "feat_extract_norm": "layer" if layout.large else "group",
    }
    if layout.family == "wavlm":
        expected |= {"num_buckets": layout.buckets, "max_bucket_distance": layout.max_distance}
    for key, value in expected.items():
        if model.get(key, value) != value:
            found = printable(repr(model[key])[:40])
            raise InputError(
                f"config.json of {shown(file)!r} has {key} = {found}, '{layout.name}' has {value!r}",
                f"expected {layout.wanted}",
            )
    recipe = _read_json(file.with_name("preprocessor_config.json"))
    if recipe.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
        rate = printable(repr(recipe["sampling_rate"])[:40])
        raise InputError(
            f"{shown(file)!r} was trained on {rate} Hz, expected {SAMPLE_RATE} Hz", f"take {layout.wanted}"
        )
    told = recipe.get("do_normalize")
    return told if isinstance(told, bool) else layout.large


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} where there is no such file. InputError for anything else under that name."""
    if not os.path.exists(path):
        return {}
    path, _ = require_file(path, "configuration")
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"{path.stat().st_size} bytes, at most {MAX_JSON} are read")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}, expected an object")
    except (ValueError, RecursionError, OSError) as error:
        reason = printable(str(error)[:120])
        raise InputError(f"{shown(path)!r} cannot be read ({reason})", "copy the Hugging Face folder again") from error
    return found
