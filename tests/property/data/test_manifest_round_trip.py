"""Whatever clips are written, the same clips are read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gesturegen_cli.data.manifest import Clip, read_dataset, write_dataset

names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True).filter(lambda name: name not in {".", ".."})
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
numbers = st.integers(-10_000, 10_000)


@st.composite
def clips(draw: st.DrawFn, root: Path, name: str, fps: int) -> Clip:
    frames = draw(st.integers(1, 10_000))
    labelled = draw(st.booleans())
    folder = root / "clips"
    paths = {"video": folder / f"{name}.mp4", "audio": folder / f"{name}.wav"}
    if labelled:
        paths["labels"] = folder / f"{name}.labels.safetensors"
    for path in paths.values():
        path.write_bytes(b"x")
    return Clip(
        id=name,
        video=paths["video"],
        audio=paths["audio"],
        labels=paths.get("labels"),
        split=draw(st.sampled_from(["train", "val", "test"])),
        source=draw(texts),
        start=draw(st.floats(0, 1e5)),
        frames=frames,
        seconds=frames / fps,
        fps=fps,
        size=256,
        sha256={key: draw(digests) for key in paths},
        crop=draw(st.none() | st.tuples(numbers, numbers, numbers)),
        speaker=draw(texts),
        consent=draw(texts),
    )


@given(data=st.data(), ids=st.lists(names, unique_by=str.lower, max_size=5), fps=st.integers(1, 120))
@settings(max_examples=40, deadline=None)
def test_clips_survive_writing_and_reading(data: st.DataObject, ids: list[str], fps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "clips").mkdir()
        made = [data.draw(clips(root, name, fps)) for name in ids]
        note = data.draw(texts)
        written = write_dataset(root, made, fps=fps, size=256, source=note, settings={"a": 1})
        assert written == read_dataset(root)
        assert list(written.clips) == sorted(made, key=lambda clip: clip.id)
        assert (written.source, written.settings) == (note, {"a": 1})
