import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesturegen_speakers import cli
from gesturegen_speakers.assets import load_assets
from gesturegen_speakers.backgrounds import calm_background, random_background
from gesturegen_speakers.clip import ClipSettings, rehearse


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gesturegen-speakers", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


def test_missing_assets_are_bad_input_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("CC0_PEOPLE", raising=False)
    assert run(monkeypatch, "make", str(tmp_path / "out"), "--hours", "1") == 3
    assert "hint: point --assets" in capsys.readouterr().err
    assert run(monkeypatch, "make", str(tmp_path / "out"), "--hours", "1", "--assets", str(tmp_path)) == 3
    assert "lacks base/base.obj" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--hours", "0"),
        ("--hours", "1", "--size", "100"),
        ("--hours", "1", "--clip-seconds", "0.2"),
        ("--hours", "1", "--longest-pause", "0.1"),
        ("--hours", "1", "--longest-pause", "nan"),
    ],
)
def test_impossible_numbers_are_usage_errors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: tuple[str, ...]
) -> None:
    assert run(monkeypatch, "make", str(tmp_path / "out"), *option) == 2


def test_picture_writes_a_png_of_a_person(monkeypatch: pytest.MonkeyPatch, assets_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "speaker.png"
    run(monkeypatch, "picture", str(out), "--assets", str(assets_root), "--seed", "17", "--size", "64")
    with Image.open(out) as picture:
        assert picture.size == (64, 64)
        assert np.asarray(picture).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["speaker.png"]


@pytest.mark.usefixtures("espeak")
def test_the_preview_shows_frames_of_the_clips_that_make_renders(
    monkeypatch: pytest.MonkeyPatch, assets_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sheet.png"
    words = ("--assets", str(assets_root), "--seed", "3", "--size", "64", "--clip-seconds", "1")
    run(monkeypatch, "preview", str(out), "--clips", "5", *words)
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (2 * 64, 8 * 64, 3)
    assert (sheet[64:, 2 * 64 :] == 255).all()  # the fifth clip is alone in its row
    settings = ClipSettings(seed=3, size=64, frames=25, recordings=())
    take = rehearse(load_assets(assets_root), 1, settings)
    assert np.array_equal(sheet[:64, 2 * 64 : 3 * 64], take.scene.draw(take.matrices[7]))


@pytest.mark.parametrize("paint", [random_background, calm_background])
def test_backgrounds_are_pictures_and_repeatable(paint) -> None:
    for seed in range(30):
        image = paint(np.random.default_rng(seed), 64)
        assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
        assert np.array_equal(image, paint(np.random.default_rng(seed), 64))
