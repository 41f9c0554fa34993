"""Camera and light of a clip, sampled at random; matrices are OpenGL style (column vectors, depth -1..1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, unit
from .person import Person


@dataclass(frozen=True)
class Camera:
    """View-projection matrix [4, 4] and position of the eye [3] in decimetres."""

    matrix: Array
    eye: Array


@dataclass(frozen=True)
class Lights:
    """Key light with shadow, fill light, and sky/ground ambient light; colours are linear."""

    key: Array
    key_rgb: Array
    fill: Array
    fill_rgb: Array
    sky_rgb: Array
    ground_rgb: Array
    gain: Array
    shade: float


@dataclass(frozen=True)
class Framing:
    """Height of the picture in waist-to-head units, and the shift of the person in picture heights."""

    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


def perspective(field_of_view: float, near: float, far: float) -> Array:
    """Square perspective projection [4, 4]; angle in radians."""
    t = 1 / np.tan(field_of_view / 2)
    depth, shift = -(far + near) / (far - near), -2 * far * near / (far - near)
    return np.array([[t, 0, 0, 0], [0, t, 0, 0], [0, 0, depth, shift], [0, 0, -1, 0]])


def orthographic(radius: float, near: float, far: float) -> Array:
    """Square orthographic projection [4, 4] of +-radius."""
    depth, shift = -2 / (far - near), -(far + near) / (far - near)
    return np.array([[1 / radius, 0, 0, 0], [0, 1 / radius, 0, 0], [0, 0, depth, shift], [0, 0, 0, 1]])


def look(eye: Array, at: Array, up: tuple[float, float, float] = (0, 1, 0)) -> Array:
    """World-to-camera matrix [4, 4]."""
    z = unit(eye - at)
    x = unit(np.cross(up, z))
    matrix = np.eye(4)
    matrix[0, :3], matrix[1, :3], matrix[2, :3] = x, np.cross(z, x), z
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def sample_lights(rng: np.random.Generator) -> Lights:
    """Key light from the front half, fill from the other side, warm or cold."""
    around, above = rng.uniform(-1.1, 1.1), rng.uniform(0.25, 1.0)
    key = np.array([np.sin(around) * np.cos(above), np.sin(above), np.cos(around) * np.cos(above)])
    other = -np.sign(around) * rng.uniform(0.6, 2.4)
    fill = unit(np.array([np.sin(other), rng.uniform(0, 0.5), np.cos(other)]))
    warm = np.array([1, 0.93, 0.84]) ** rng.uniform(-1, 1.5)
    key_rgb = warm * rng.uniform(0.6, 1.1)
    sky = np.array([0.9, 0.97, 1.05]) ** rng.uniform(-0.5, 1.2) * rng.uniform(0.35, 0.7)
    return Lights(
        key=key,
        key_rgb=key_rgb,
        fill=fill,
        fill_rgb=np.ones(3) * rng.uniform(0, 0.45),
        sky_rgb=sky,
        ground_rgb=sky * rng.uniform(0.35, 0.8) * np.array([1.05, 1, 0.93]),
        gain=np.exp(rng.normal(0, 0.04, 3)),
        shade=float(rng.uniform(0.3, 0.85)),
    )


def sample_framing(rng: np.random.Generator) -> Framing:
    """Mostly waist-up and centred; some show little more than the head, some are close, wide or off-centre."""
    kind = rng.random()
    if kind < 0.08:
        zoom = rng.uniform(0.4, 0.62)
    elif kind < 0.20:
        zoom = rng.uniform(0.62, 0.92)
    elif kind < 0.40:
        zoom = 1.0
    elif kind < 0.88:
        zoom = rng.uniform(0.92, 1.3)
    else:
        zoom = rng.uniform(1.3, 1.75)
    aside = rng.uniform(-0.2, 0.2) if rng.random() < 0.35 else 0.0
    return Framing(float(zoom), float(aside), float(rng.uniform(0, 0.12) * (rng.random() < 0.4)))


def sample_camera(person: Person, rng: np.random.Generator, framing: Framing) -> Camera:
    """Camera with the head near the upper edge; the cut through the legs stays hidden."""
    index, mesh = person.assets.skeleton.index, person.assets.mesh
    top = float(person.base[mesh.fv[mesh.group == "body"].ravel(), 1].max()) + 0.25
    waist = float(person.head[index["spine05"], 1])
    field_of_view = np.radians(rng.uniform(16, 30))
    height = (top - waist) * rng.uniform(0.95, 1.18) * framing.zoom
    centre = top + height * (rng.uniform(0.03, 0.09) + framing.shift_y) - height / 2
    centre = max(centre, person.cut_height + 0.45 + height / 2)
    distance = height / 2 / np.tan(field_of_view / 2) + 0.8
    yaw, pitch = rng.normal(0, 0.13), rng.uniform(-0.03, 0.1)
    direction = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    at = np.array([rng.normal(0, 0.12) - framing.shift_x * height, centre, 0.3])
    eye = at + distance * direction
    return Camera(perspective(field_of_view, distance - 8, distance + 8) @ look(eye, at), eye)
