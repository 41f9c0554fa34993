"""Skin, eye and hair textures, and the colour helpers shared with the clothes."""

from __future__ import annotations

import numpy as np

from .arrays import Array
from .assets import Assets
from .person_spec import PersonSpec

_LIGHT_SKINS = {"young": 3, "middleage": 2, "old": 2}


def skin_texture(assets: Assets, spec: PersonSpec) -> Array:
    """Blend of a light and the dark skin [h, w, 3] in log space; all skins share one texture layout."""
    age = "young" if spec.age < 0.35 else ("middleage" if spec.age < 0.65 else "old")
    dark = assets.image(f"skins/{age}_darkskinned_{spec.gender}_diffuse.png")
    which = spec.skin_pick % _LIGHT_SKINS[age]
    light = assets.image(f"skins/{age}_lightskinned_{spec.gender}_diffuse{which + 1 if which else ''}.png")
    light = light * np.array([1.0, 0.97, 0.93]) ** (2 * spec.ethnicity["asian"])
    mix = float(np.clip(spec.ethnicity["african"] ** 0.8 * 1.15 - 0.08, 0, 1))
    blend = np.exp((1 - mix) * np.log(light + 0.02) + mix * np.log(dark + 0.02)) - 0.02
    return np.clip(blend * spec.skin_gain, 0, 1).astype(np.float32)


def eye_texture(rgba: Array) -> Array:
    """Eye texture [h, w, 4] with muted colour: the brown one would render red."""
    out = rgba.copy()
    grey = out[..., :3].mean(-1, keepdims=True)
    out[..., :3] = np.clip(grey + (out[..., :3] - grey) * 0.55, 0, 1) * 0.92
    return out


def recolour(rgba: Array, linear_rgb: Array) -> Array:
    """Replace the colour of hair [h, w, 4] and keep its strands (relative luminance)."""
    luminance = rgba[..., :3] @ np.array([0.3, 0.59, 0.11], np.float32)
    alpha = rgba[..., 3]
    mean = (luminance * alpha).sum() / max(alpha.sum(), 1)
    strands = np.clip(luminance / max(mean, 0.02), 0.25, 1.8)
    out = np.empty_like(rgba)
    out[..., :3] = np.clip(np.sqrt(np.clip(linear_rgb, 0, 1)) * strands[..., None] ** 0.7, 0, 1)
    out[..., 3] = alpha
    return out


def shift_hsv(rgb: Array, hue: float, saturation: float, value: float) -> Array:
    """Rotate the hue (turns) and scale saturation and value of colours [..., 3] in 0..1."""
    high, low = rgb.max(-1), rgb.min(-1)
    spread = high - low
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    e = 1e-6
    green_or_blue = np.where(high == g, (b - r) / (spread + e) + 2, (r - g) / (spread + e) + 4)
    h = np.where(high == r, (g - b) / (spread + e) % 6, green_or_blue) / 6
    s = np.clip(spread / (high + e) * saturation, 0, 1)
    v = np.clip(high * value, 0, 1)
    h = (h + hue) % 1
    sector = np.floor(h * 6)
    f = h * 6 - sector
    p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
    k = sector.astype(int) % 6
    channels = ([v, q, p, p, t, v], [t, v, v, q, p, p], [p, p, t, v, v, q])
    return np.stack([np.choose(k, channel) for channel in channels], -1)
