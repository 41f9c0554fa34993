"""Random procedural backgrounds [n, n, 3] uint8: walls, studios, rooms, and hard ones (text, city lights, dark)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from .arrays import Array
from .person_spec import pick

Painter = Callable[[np.random.Generator, int], Array]


def random_background(rng: np.random.Generator, n: int) -> Array:
    """One background; about one in five is dimmed to low light, which makes dark clothes hard to see."""
    painters: tuple[tuple[float, Painter], ...] = (
        (0.10, _plain),
        (0.15, _gradient),
        (0.08, _studio),
        (0.10, _blocks),
        (0.08, _clouds),
        (0.27, room),
        (0.10, _lights_at_night),
        (0.12, _clutter),
    )
    weights = np.array([w for w, _ in painters])
    paint = painters[int(rng.choice(len(painters), p=weights / weights.sum()))][1]
    image = paint(rng, n)
    if rng.random() < 0.2:
        _add_text(rng, image)
    if rng.random() < 0.2:
        image = image * rng.uniform(0.12, 0.45)
    image = image + rng.normal(0, rng.uniform(0, 0.012), (n, n, 1))
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)


def calm_background(rng: np.random.Generator, n: int) -> Array:
    """A gradient, a studio or a room, with nothing in it that looks like a person."""
    image = pick(rng, (_gradient, _studio, room))(rng, n)
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)


def random_colour(rng: np.random.Generator, spread: float = 0.5, low: float = 0.15, high: float = 0.95) -> Array:
    """Colour [3] in 0..1 around a random grey."""
    return np.clip(rng.uniform(low, high) + rng.normal(0, 0.16 * spread, 3), 0.02, 1).astype(np.float32)


def smooth_noise(rng: np.random.Generator, n: int, octaves: int) -> Array:
    """Cloud-like noise [n, n] in 0..1."""
    total = np.zeros((n, n), np.float32)
    for octave in range(octaves):
        cells = 2 * 2**octave
        layer = zoom(rng.normal(size=(cells + 3, cells + 3)).astype(np.float32), n / cells, order=1)
        y, x = rng.integers(0, max(1, layer.shape[0] - n), 2)
        total += layer[y : y + n, x : x + n] * 0.6**octave
    total -= total.min()
    return np.asarray(total / max(float(total.max()), 1e-6))


def _grid(n: int) -> tuple[Array, Array]:
    y, x = np.mgrid[:n, :n].astype(np.float32) / n
    return y, x


def _fill(image: Array, x: float, y: float, width: float, height: float, colour: Array | float) -> None:
    x0, y0, x1, y1 = (max(int(v), 0) for v in (x, y, x + width, y + height))
    image[y0:y1, x0:x1] = colour


def _plain(rng: np.random.Generator, n: int) -> Array:
    return np.broadcast_to(random_colour(rng, 1), (n, n, 3)).copy()


def _gradient(rng: np.random.Generator, n: int) -> Array:
    y, x = _grid(n)
    angle = rng.uniform(0, 2 * np.pi)
    t = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
    return np.asarray(random_colour(rng, 1) * (1 - t) + random_colour(rng, 1) * t)


def _studio(rng: np.random.Generator, n: int) -> Array:
    y, x = _grid(n)
    radius = np.hypot(x - rng.uniform(0.3, 0.7), y - rng.uniform(0.2, 0.6))[..., None]
    return np.asarray(random_colour(rng, 0.8, 0.4, 1) * np.clip(1.1 - rng.uniform(0.5, 1.3) * radius, 0.1, 1))


def _blocks(rng: np.random.Generator, n: int) -> Array:
    image = _plain(rng, n)
    for _ in range(rng.integers(8, 40)):
        size, (x, y) = rng.uniform(0.02, 0.2) * n, rng.random(2) * n
        _fill(image, x, y, size * rng.uniform(0.5, 2), size * 2, random_colour(rng, 1.3, 0.05, 1))
    return _blur(image, float(rng.uniform(4, 14)))


def _clouds(rng: np.random.Generator, n: int) -> Array:
    t = smooth_noise(rng, n, 6)[..., None]
    return np.asarray(random_colour(rng, 1) * t + random_colour(rng, 1) * (1 - t))


def _blur(image: Array, sigma: float) -> Array:
    return np.asarray(gaussian_filter(image, (sigma, sigma, 0)))


def _lights_at_night(rng: np.random.Generator, n: int) -> Array:
    """Dark city with out-of-focus lamps and lit windows."""
    image = _gradient(rng, n) * rng.uniform(0.05, 0.3)
    for _ in range(rng.integers(2, 7)):
        left, width, top = rng.uniform(-0.1, 0.9) * n, rng.uniform(0.1, 0.35) * n, rng.uniform(0.05, 0.6) * n
        _fill(image, left, top, width, n, random_colour(rng, 0.4, 0.02, 0.2))
        step = rng.uniform(5, 12) * n / 256
        for wy in np.arange(top + 4, n, step):
            for wx in np.arange(max(left, 0) + 3, min(left + width, n) - 3, step):
                if rng.random() < 0.35:
                    _fill(image, wx, wy, step * 0.5, step * 0.5, np.array([1.0, 0.85, 0.55]) * rng.uniform(0.3, 1))
    image = _blur(image, float(rng.uniform(0.5, 3)))
    y, x = _grid(n)
    for _ in range(rng.integers(5, 40)):
        radius, (cx, cy) = rng.uniform(0.008, 0.05), rng.random(2)
        disc = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        image[disc] = image[disc] * 0.5 + random_colour(rng, 2, 0.3, 1) * rng.uniform(0.3, 0.8)
    return _blur(image, 0.7)


def _clutter(rng: np.random.Generator, n: int) -> Array:
    """Room or clouds with inset pictures and blobs, some in skin colours and limb-like."""
    image = room(rng, n) if rng.random() < 0.5 else _clouds(rng, n)
    y, x = _grid(n)
    for _ in range(rng.integers(3, 14)):
        skin = np.array([0.85, 0.62, 0.5]) * rng.uniform(0.35, 1.1)
        colour = np.clip(skin, 0, 1) if rng.random() < 0.5 else random_colour(rng, 1.5, 0.05, 1)
        angle, (cx, cy) = rng.uniform(0, np.pi), rng.random(2)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        blob = (along / rng.uniform(0.03, 0.2)) ** 2 + (across / rng.uniform(0.02, 0.07)) ** 2
        image[blob < 1] = (colour * (1 - 0.3 * blob[..., None]))[blob < 1]
    if rng.random() < 0.4:
        side, (px, py) = int(rng.uniform(0.2, 0.4) * n), (rng.uniform(0, 0.6, 2) * n).astype(int)
        inset = zoom(room(rng, n // 2), (side / (n // 2), side / (n // 2), 1), order=1)
        image[py : py + side, px : px + side] = inset[: n - py, : n - px]
    return _blur(image, float(rng.choice([0.5, 1.0, 2.0])))


def _add_text(rng: np.random.Generator, image: Array) -> None:
    """Lines of small strokes that look like text, in one colour, on a plate or not."""
    n = len(image)
    size = rng.uniform(5, 16) * n / 256
    x0, y0, width = rng.uniform(-0.05, 0.5) * n, rng.uniform(0, 0.8) * n, rng.uniform(0.3, 0.9) * n
    lines, ink = int(rng.integers(1, 6)), random_colour(rng, 1, 0.0, 1)
    if rng.random() < 0.5:
        _fill(image, x0 - size, y0 - size * 0.5, width + 2 * size, lines * size * 1.6 + size * 0.5, random_colour(rng))
    for line in range(lines):
        x, y = x0, y0 + line * size * 1.6
        while x < x0 + width * rng.uniform(0.6, 1):
            if rng.random() < 0.16:
                x += size * 0.6
            stroke = max(size * 0.14, 1)
            _fill(image, x, y, stroke, size, ink)
            bars = rng.random(3) < 0.5
            for bar, shown in enumerate(bars):
                if shown:
                    _fill(image, x, y + bar * (size - stroke) / 2, size * 0.5, stroke, ink)
            if rng.random() < 0.5:
                _fill(image, x + size * 0.5, y, stroke, size, ink)
            x += size * 0.8


def room(rng: np.random.Generator, n: int) -> Array:
    """A wall with perhaps a bookshelf, a window, frames, a table edge and panels, more or less out of focus."""
    y, x = _grid(n)
    side = x if rng.random() < 0.5 else 1 - x
    image = np.empty((n, n, 3), np.float32)
    image[:] = random_colour(rng, 0.6, 0.35, 0.92) * (1 - 0.25 * side - 0.1 * y)[..., None]
    if rng.random() < 0.6:
        _bookshelf(rng, image)
    if rng.random() < 0.35:
        _window(rng, image)
    for _ in range(rng.integers(0, 4)):
        fx, fy, w, h = rng.uniform([0, 0, 0.08, 0.08], [0.9, 0.6, 0.25, 0.25]) * n
        _fill(image, fx - 2, fy - 2, w + 4, h + 4, random_colour(rng, 0.3, 0.05, 0.9))
        _fill(image, fx, fy, w, h, random_colour(rng, 1.2))
    if rng.random() < 0.4:
        _fill(image, 0, rng.uniform(0.75, 0.95) * n, n, n, random_colour(rng, 0.5, 0.1, 0.6))
    if rng.random() < 0.3:
        image[:, (np.arange(n) % (rng.uniform(0.08, 0.3) * n)) < 2] *= 0.85
    image *= (0.9 + 0.2 * smooth_noise(rng, n, 4))[..., None]
    return _blur(image, float(rng.choice([0.6, 1.2, 2.5, 5])))


def _bookshelf(rng: np.random.Generator, image: Array) -> None:
    n = len(image)
    x0, width, top = rng.uniform(-0.2, 0.7) * n, rng.uniform(0.3, 0.9) * n, rng.uniform(-0.1, 0.1) * n
    rows, height = int(rng.integers(3, 7)), rng.uniform(0.16, 0.26) * n
    wood = random_colour(rng, 0.3, 0.15, 0.5) * np.array([1.1, 0.95, 0.8])
    _fill(image, x0 - 4, top - 4, width + 8, rows * height + 8, wood * 0.6)
    for row in range(rows):
        x, floor = x0, top + (row + 1) * height
        while x < x0 + width - 3:
            thick, tall = rng.uniform(3, 9) * n / 256, height * rng.uniform(0.55, 0.88)
            thick = min(thick, x0 + width - x)
            colour = random_colour(rng, 1.4, 0.1, 0.85)
            if rng.random() < 0.93:
                _fill(image, x, floor - tall, thick, tall - 3, colour)
                _fill(image, x, floor - tall * 0.8, thick, tall * 0.08, colour * 0.6 + 0.2)
            x += thick + (rng.random() < 0.1) * 4 + 0.5
        _fill(image, x0 - 4, floor - 3, width + 8, 4, wood)


def _window(rng: np.random.Generator, image: Array) -> None:
    n = len(image)
    x, y, width, height = rng.uniform([-0.1, 0, 0.2, 0.3], [0.75, 0.2, 0.4, 0.55]) * n
    _fill(image, x - 3, y - 3, width + 6, height + 6, np.array([0.9, 0.9, 0.88]))
    sky = np.linspace(1, 0.75, n)[:, None, None] * np.array([0.85, 0.93, 1.0])
    top, bottom, left, right = int(y), min(int(y + height), n), max(int(x), 0), min(int(x + width), n)
    image[top:bottom, left:right] = sky[: bottom - top]
    _fill(image, x + width / 2 - 1, y, 3, height, 0.85)
