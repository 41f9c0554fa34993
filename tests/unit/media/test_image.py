"""Reference pictures: all usual kinds become upright RGB, bad ones get a clear answer."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.image import load_image

from . import make


def gradient(width: int = 96, height: int = 80) -> Image.Image:
    """Red grows to the right, green downwards, blue is constant."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 64)], axis=2).astype(np.uint8))


def assert_close(pixels, expected, tolerance):
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected.astype(int)).mean() < tolerance


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0.01),
        ("a.bmp", {}, 0.01),
        ("a.tiff", {}, 0.01),
        ("a.jpg", {"quality": 95}, 2),
        ("a.webp", {"quality": 95}, 3),
        ("webp_named.jpg", {"format": "WEBP", "quality": 95}, 3),
        ("png_named.txt", {"format": "PNG"}, 0.01),
    ],
)
def test_formats_are_read_by_content(tmp_path, name, options, tolerance):
    gradient().save(tmp_path / name, **options)
    picture = load_image(tmp_path / name)
    assert_close(picture.pixels, np.asarray(gradient()), tolerance)
    assert picture.size == (96, 80)
    assert picture.name == name
    assert picture.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = gradient().transpose(turns[orientation]) if orientation > 1 else gradient()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "o.jpg", exif=exif, quality=95)
    assert_close(load_image(tmp_path / "o.jpg").pixels, np.asarray(gradient()), 2)


def test_transparency_shows_the_background(tmp_path):
    image = gradient().convert("RGBA")
    alpha = np.full((80, 96), 255, np.uint8)
    alpha[:, :48] = 0
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    pixels = load_image(tmp_path / "a.png", background=(1, 2, 3)).pixels
    assert (pixels[:, :48] == (1, 2, 3)).all()
    assert (pixels[:, 48:] == np.asarray(gradient())[:, 48:]).all()


def test_transparent_palette_and_grey_with_alpha(tmp_path):
    palette = gradient().quantize(16)
    palette.save(tmp_path / "p.png", transparency=int(np.asarray(palette)[0, 0]))
    assert tuple(load_image(tmp_path / "p.png").pixels[0, 0]) == (235, 235, 235)
    Image.merge("LA", [Image.new("L", (80, 80), 10), Image.linear_gradient("L").resize((80, 80))]).save(
        tmp_path / "la.png"
    )
    pixels = load_image(tmp_path / "la.png").pixels
    assert pixels[-1, 0].max() < 13
    assert pixels[0, 0].min() > 230


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "I;16", "F"])
def test_colour_modes_become_rgb(tmp_path, mode):
    grey = np.asarray(gradient().convert("L"))
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "m.png")
    elif mode == "F":
        Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "m.tiff")
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(
            tmp_path / ("m.jpg" if mode in {"CMYK", "YCbCr"} else "m.png")
        )
    path = next(tmp_path.iterdir())
    tolerance = {"1": 128, "P": 24}.get(mode, 4)
    assert_close(load_image(path).pixels, np.repeat(grey[:, :, None], 3, axis=2), tolerance)


def test_cmyk_jpeg_keeps_its_colours(tmp_path):
    Image.new("RGB", (80, 80), (200, 40, 90)).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert np.abs(load_image(tmp_path / "c.jpg").pixels[40, 40].astype(int) - (200, 40, 90)).max() < 6


def test_animation_gives_its_first_frame_and_a_warning(tmp_path):
    frames = [Image.new("RGB", (80, 80), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    for frame in frames:
        frame.putpixel((0, 0), (255, 255, 255))
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        picture = load_image(tmp_path / name)
        assert np.abs(picture.pixels[40, 40].astype(int) - (200, 0, 0)).max() < 8
        assert "animated" in picture.warnings[0]


def test_a_blank_picture_is_taken_with_a_warning(tmp_path):
    Image.new("RGB", (80, 80), (9, 9, 9)).save(tmp_path / "b.png")
    assert "blank" in load_image(tmp_path / "b.png").warnings[0]


@pytest.mark.parametrize("size", [(30_000, 30_000), (9_000, 9_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bomb_is_refused_before_decoding(tmp_path, size):
    with pytest.raises(InputError, match=r"bomb\.png.*(pixels|large)"):
        load_image(make.png_that_claims(tmp_path / "bomb.png", *size))


@pytest.mark.parametrize("size", [(1, 1), (63, 500)])
def test_too_small_is_refused(tmp_path, size):
    gradient(*size).save(tmp_path / "s.png")
    with pytest.raises(InputError, match=f"{size[0]} x {size[1]} pixels, expected at least 64"):
        load_image(tmp_path / "s.png")


def test_tiny_but_usable_is_taken(tmp_path):
    gradient(64, 128).save(tmp_path / "s.png")
    assert load_image(tmp_path / "s.png").size == (64, 128)


@pytest.mark.parametrize("name", ["t.png", "t.jpg", "t.webp", "t.gif", "t.bmp", "t.tiff"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_cut_off_pictures_are_refused(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    os.truncate(tmp_path / name, int((tmp_path / name).stat().st_size * kept))
    with pytest.raises(InputError, match="damaged or cut off"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("name", ["d.png", "d.jpg", "d.webp", "d.gif", "d.tiff"])
def test_damaged_bytes_never_raise_anything_but_input_errors(tmp_path, name):
    rng = np.random.default_rng(1)
    gradient().save(tmp_path / name)
    good = (tmp_path / name).read_bytes()
    for _ in range(40):
        data = bytearray(good)
        for place in rng.integers(0, min(len(data), 400), 6):
            data[place] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(data)
        with suppress(InputError):
            assert load_image(tmp_path / name).pixels.dtype == np.uint8


def test_damaged_exif_does_not_matter(tmp_path):
    gradient().save(tmp_path / "e.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert load_image(tmp_path / "e.jpg").size == (96, 80)


def test_real_pictures_are_read():
    for path in make.shared_media("refs"):
        picture = load_image(path)
        assert min(picture.size) >= 128
        assert picture.warnings == ()
