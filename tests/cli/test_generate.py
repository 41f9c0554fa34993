import errno
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from gesturegen_cli.bundle import MANIFEST
from gesturegen_cli.cli.app import app
from gesturegen_cli.cli.outputs import locked
from gesturegen_cli.data.motion_file import load_motion
from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.media.video import probe_video

Run = Callable[..., "Outcome"]


class Outcome:
    """Exit code and what was printed."""

    def __init__(self, result) -> None:
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr

    @property
    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(tiny_bundle: Path, tmp_path: Path, monkeypatch) -> Run:
    """`gesturegen generate ... --steps 1` with the tiny bundle, in the folder `work`."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def call(*arguments: object, model: Path = tiny_bundle) -> Outcome:
        words = ["generate", "--steps", "1", "-m", str(model), "--device", "cpu", *map(str, arguments)]
        return Outcome(CliRunner().invoke(app, words))

    return call


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _expect_error(outcome: Outcome, code: int, message: str, hint: str) -> None:
    assert outcome.code == code, outcome.err
    lines = outcome.err.splitlines()
    error = next(line for line in lines if line.startswith("error: "))
    assert message in error
    assert any(line.startswith("hint: ") and hint in line for line in lines), outcome.err
    assert "Traceback" not in outcome.err


def test_one_pair_makes_a_video_named_after_the_speech(run, speech_wav, speaker_png):
    outcome = run(speech_wav, speaker_png)
    assert outcome.code == 0
    assert outcome.out == "talk.mp4\n"
    assert _tree(Path()) == ["talk.json", "talk.mp4"]
    assert "32 frames" in outcome.err
    assert "s to go" in outcome.err


def test_order_and_endings_of_inputs_do_not_matter(run, speech_wav, speaker_png, tmp_path):
    sound = shutil.copy(speech_wav, tmp_path / "sound.png")
    picture = shutil.copy(speaker_png, tmp_path / "picture.wav")
    outcome = run(picture, sound, "-o", "v.mp4")
    assert outcome.code == 0, outcome.err
    assert probe_video("v.mp4").has_audio


def test_output_may_be_a_folder_that_is_not_there_yet(run, speech_wav, speaker_png):
    assert run(speech_wav, speaker_png, "-o", "a/b").code == 0
    assert _tree(Path()) == ["a", "a/b", "a/b/talk.json", "a/b/talk.mp4"]


def test_json_gives_events_and_the_whole_record_on_stdout(run, speech_wav, speaker_png):
    outcome = run(speech_wav, speaker_png, "--json")
    assert outcome.code == 0
    # The tiny model's weights are random: it is not sure to see anybody.
    assert [event["event"] for event in outcome.events] == ["plan", "estimate", "warning", "result"]
    record = json.loads(Path("talk.json").read_text())
    assert {**record, "event": "result", "path": "talk.mp4"} == outcome.events[-1]


def test_seed_and_energy_reach_the_record(run, speech_wav, speaker_png):
    assert run(speech_wav, speaker_png, "--seed", 5, "--energy", 0.5, "--set", "sampling.guidance=2").code == 0
    record = json.loads(Path("talk.json").read_text())
    assert (record["rng_seed"], record["sampling"]["energy"], record["sampling"]["guidance"]) == (5, 0.5, 2.0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_reaches_the_frames_and_the_record(run, speech_wav, speaker_png, precision):
    assert run(speech_wav, speaker_png, "--precision", precision).code == 0
    record = json.loads(Path("talk.json").read_text())
    assert record["precision"] == record["sampling"]["render_precision"] == precision


def test_same_command_gives_the_same_bytes(run, speech_wav, speaker_png):
    for name in ("a.mp4", "b.mp4"):
        assert run(speech_wav, speaker_png, "-o", name, "--seed", 3).code == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_motion_can_be_kept(run, speech_wav, speaker_png):
    assert run(speech_wav, speaker_png, "--motion-out", "m.safetensors").code == 0
    motion = load_motion("m.safetensors", expected_dim=62)
    assert motion.motion.shape == (32, 62)
    assert motion.bundle_digest == json.loads(Path("talk.json").read_text())["bundle"]["digest"]
    again = run(speech_wav, speaker_png, "-o", "other.mp4", "--motion-out", "m.safetensors")
    _expect_error(again, 2, "motion file 'm.safetensors' exists", "--exists overwrite")


def test_existing_output_is_kept_unless_told(run, speech_wav, speaker_png):
    assert run(speech_wav, speaker_png).code == 0
    first = Path("talk.mp4").read_bytes()
    _expect_error(run(speech_wav, speaker_png, "--seed", 9), 2, "output 'talk.mp4' exists", "--exists overwrite")
    assert Path("talk.mp4").read_bytes() == first
    assert run(speech_wav, speaker_png, "--seed", 9, "--exists", "skip").code == 0
    assert Path("talk.mp4").read_bytes() == first
    assert run(speech_wav, speaker_png, "--seed", 9, "--exists", "overwrite").code == 0
    assert Path("talk.mp4").read_bytes() != first


def test_skip_does_not_count_a_video_without_its_record(run, speech_wav, speaker_png):
    Path("talk.mp4").write_bytes(b"left by something else")
    assert run(speech_wav, speaker_png, "--exists", "skip").code == 0
    assert probe_video("talk.mp4").width == 64


def test_foreign_json_in_the_records_place_is_never_overwritten(run, speech_wav, speaker_png):
    Path("talk.json").write_text('{"transcript": "hello"}')
    outcome = run(speech_wav, speaker_png, "--exists", "overwrite")
    _expect_error(outcome, 2, "'talk.json' exists and is not the record of a video", "name another output")
    assert _tree(Path()) == ["talk.json"]


def test_input_named_as_output_is_refused_and_untouched(run, speech_wav, speaker_png, tmp_path):
    speech = Path(shutil.copy(speech_wav, tmp_path / "film.mp4"))
    Path("link.mp4").symlink_to(speech)
    before = speech.read_bytes()
    for output in (speech, Path("link.mp4")):
        outcome = run(speech, speaker_png, "-o", output, "--exists", "overwrite")
        _expect_error(outcome, 2, "is an input of this command", "name another output")
    assert speech.read_bytes() == before


# Bad inputs: each is refused with exit code, message and hint, and leaves the output folder as it was.


def _wav(samples: np.ndarray, kind: str) -> bytes:
    code = {"<f4": 3, "<i2": 1}[kind]
    data = samples.astype(kind).tobytes()
    width = np.dtype(kind).itemsize
    head = b"WAVEfmt " + np.array([16], "<u4").tobytes() + np.array([code, 1], "<u2").tobytes()
    head += np.array([16_000, 16_000 * width], "<u4").tobytes() + np.array([width, 8 * width], "<u2").tobytes()
    head += b"data" + np.array([len(data)], "<u4").tobytes()
    return b"RIFF" + np.array([len(head) + len(data)], "<u4").tobytes() + head + data


BAD_SPEECH = {
    "empty": (b"", "empty (0 bytes)", "download"),
    "header only": (_wav(np.zeros(0), "<i2")[:30], "speech 'bad.wav'", ""),
    "text": (b"hello, this is not sound\n" * 20, "a text file that begins 'hello", "name a sound or video file"),
    "nan": (_wav(np.full(16_000, np.nan), "<f4"), "NaN or infinite", "export it again"),
    "short": (_wav(np.ones(800), "<i2"), "0.050 s long, expected at least 0.1 s", "cut off"),
    "noise": (np.random.default_rng(0).bytes(5000), "cannot be opened", "convert it"),
}


@pytest.mark.parametrize("case", BAD_SPEECH)
def test_bad_speech_is_refused(run, speaker_png, tmp_path, case):
    data, message, hint = BAD_SPEECH[case]
    (tmp_path / "bad.wav").write_bytes(data)
    _expect_error(run(tmp_path / "bad.wav", speaker_png), 3, message, hint)
    assert _tree(Path()) == []


def _png(size: tuple[int, int]) -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).save(file, "png")
    return file.getvalue()


BAD_PICTURE = {
    "empty": (b"", "empty (0 bytes)", ""),
    "text": (b"my portrait\n" * 20, "a text file that begins 'my portrait'", "convert"),
    "cut off": (_png((200, 200))[:5000], "damaged or cut off", "half a picture"),
    "one pixel": (_png((1, 1)), "1 x 1 pixels", ""),
    "bomb": (_png((64, 64))[:16] + np.array([60_000, 60_000], ">u4").tobytes() + _png((64, 64))[24:], "picture", ""),
}


@pytest.mark.parametrize("case", BAD_PICTURE)
def test_bad_picture_is_refused(run, speech_wav, tmp_path, case):
    data, message, hint = BAD_PICTURE[case]
    (tmp_path / "bad.png").write_bytes(data)
    _expect_error(run(speech_wav, tmp_path / "bad.png"), 3, message, hint)
    assert _tree(Path()) == []


def test_missing_inputs_are_named(run, speech_wav, speaker_png, tmp_path):
    _expect_error(run(speech_wav, tmp_path / "hots.png"), 3, "'hots.png' does not exist", "did you mean 'host.png'")
    _expect_error(run(tmp_path / "tolk.wav", speaker_png), 3, "'tolk.wav' does not exist", "did you mean 'talk.wav'")
    _expect_error(run(speech_wav, tmp_path / "people"), 3, "'people' does not exist", "check the spelling")
    assert _tree(Path()) == []


def test_inputs_that_make_no_pair_are_refused(run, speech_wav, speaker_png, tmp_path):
    (tmp_path / "notes").write_text("just text")
    _expect_error(run(speech_wav), 2, "no picture", "gesturegen generate speech.wav ref.png")
    _expect_error(run(speaker_png), 2, "no speech", "gesturegen generate speech.wav ref.png")
    _expect_error(run(), 2, "no speech", "gesturegen generate")
    _expect_error(run(speech_wav, tmp_path / "notes"), 3, "'notes' is a text file", "check the name")


def test_pictures_of_every_usual_kind_work(run, speech_wav, tmp_path, make_speaker):
    people = tmp_path / "people"
    people.mkdir()
    image = Image.open(make_speaker(tmp_path / "p.png", size=(120, 200)))
    image.convert("CMYK").save(people / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(people / "turned.jpg", exif=exif)
    image.convert("RGBA").save(people / "alpha.png")
    image.save(people / "moving.gif", save_all=True, append_images=[image.rotate(3)])
    image.save(people / "webp.jpg", format="webp")
    outcome = run(speech_wav, people, "-o", "out")
    assert outcome.code == 0, outcome.err
    assert len(list(Path("out").glob("talk_*.mp4"))) == 5
    assert "is animated: its first frame is used" in outcome.err


def test_silent_speech_gives_a_video_and_a_warning(run, speaker_png, tmp_path, make_speech):
    (tmp_path / "silence.wav").write_bytes(_wav(np.zeros(8_000), "<i2"))
    outcome = run(tmp_path / "silence.wav", speaker_png)
    assert outcome.code == 0
    assert "warning: speech 'silence.wav': it is silent" in outcome.err
    assert "silent" in json.loads(Path("silence.json").read_text())["warnings"][0]


def test_truncated_speech_is_used_with_a_warning_that_gives_both_lengths(run, speech_wav, speaker_png):
    cut = Path("cut.wav")
    cut.write_bytes(speech_wav.read_bytes()[:24_000])
    outcome = run(cut, speaker_png)
    assert outcome.code == 0
    assert "1.30 s" in outcome.err
    assert "0.75 s" in outcome.err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--set", "sampling.stepz=3"], "unknown key 'sampling.stepz'", "sampling.steps"),
        (["--energy", "4"], "sampling.energy = 4.0, expected at most 3", "--set"),
        (["--precision", "fp16"], "sampling.render_precision = 'fp16', expected one of auto, fp32, bf16", "bf16"),
        (["--size", "65"], "size = '65', expected 'model', 'native' or an even number", "native"),
        (["--size", "nativ"], "size = 'nativ', expected 'model'", "model"),
        (["--exists", "maybe"], "--exists = 'maybe', expected one of skip, overwrite, error", "help"),
        (["--pair", "all"], "--pair = 'all', expected one of", "help"),
        (["-o", "v.mov"], "videos are written as .mp4", ".mp4"),
        (["--motion-out", "m.npz"], "expected a name that ends in .safetensors", "for example"),
        (["--steps", "0"], "sampling.steps = 0, expected at least 1", "--set"),
    ],
)
def test_bad_options_are_refused(run, speech_wav, speaker_png, words, message, hint):
    _expect_error(run(speech_wav, speaker_png, *words), 2, message, hint)
    assert _tree(Path()) == []


# Bundles that are damaged.


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def _replace_weights(bundle: Path, role: str, data: bytes) -> None:
    """Put other bytes in, with a hash that fits: as an attacker or a careless edit would."""
    tree = yaml.safe_load((bundle / MANIFEST).read_text())
    (bundle / tree["components"][role]["file"]).write_bytes(data)
    tree["components"][role]["sha256"] = hashlib.sha256(data).hexdigest()
    (bundle / MANIFEST).write_text(yaml.safe_dump(tree))


def test_bundle_with_a_wrong_hash_is_refused(run, speech_wav, speaker_png, bundle_copy):
    weights = bundle_copy / "denoiser.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    outcome = run(speech_wav, speaker_png, "-o", "new/v.mp4", model=bundle_copy)
    _expect_error(outcome, 3, "not the file the bundle was made with", "copy the bundle again")
    assert _tree(Path()) == []


def test_bundle_with_a_missing_tensor_is_refused(run, speech_wav, speaker_png, bundle_copy, tmp_path):
    tensors = load_file(bundle_copy / "denoiser.safetensors")
    del tensors["motion_out.bias"]
    save_file(tensors, tmp_path / "less")
    _replace_weights(bundle_copy, "denoiser", (tmp_path / "less").read_bytes())
    outcome = run(speech_wav, speaker_png, model=bundle_copy)
    _expect_error(outcome, 3, "missing motion_out.bias", "another model or version")
    assert _tree(Path()) == []


class _Trap:
    def __reduce__(self):
        return (os.mkdir, ("trapped",))


def test_pickle_in_a_bundle_is_refused_and_never_opened(run, speech_wav, speaker_png, bundle_copy, tmp_path):
    torch.save({"weight": _Trap()}, tmp_path / "zip.pt")
    for data in (pickle.dumps(_Trap()), (tmp_path / "zip.pt").read_bytes()):
        _replace_weights(bundle_copy, "deviation", data)
        _expect_error(run(speech_wav, speaker_png, model=bundle_copy), 3, "is a pickle", "safetensors")
        assert _tree(Path()) == []


def test_missing_bundle_and_unknown_plugin_are_named(run, speech_wav, speaker_png, bundle_copy):
    _expect_error(run(speech_wav, speaker_png, model=Path("nothing")), 3, "no bundle 'nothing'", "or 'base'")
    text = (bundle_copy / MANIFEST).read_text()
    (bundle_copy / MANIFEST).write_text(text.replace("name: log-mel", "name: log-mal"))
    outcome = run(speech_wav, speaker_png, model=bundle_copy)
    _expect_error(outcome, 3, "unknown audio encoder 'log-mal'", "did you mean 'log-mel'")
    text = text.replace("name: log-mel", "name: their-ears")
    for provider, hint in (
        ("ear-shop", "the bundle says: pip install ear-shop"),
        ("x; rm -rf /", "ask whoever made the bundle"),
    ):
        head, tail = text.split("name: their-ears")
        tail = tail.replace("provider: gesturegen", f"provider: '{provider}'", 1)
        (bundle_copy / MANIFEST).write_text(f"{head}name: their-ears{tail}")
        outcome = run(speech_wav, speaker_png, model=bundle_copy)
        _expect_error(outcome, 3, "unknown audio encoder 'their-ears'", hint)
    assert _tree(Path()) == []


# Outputs that cannot be written.


def test_output_below_a_file_is_refused(run, speech_wav, speaker_png):
    Path("file").write_text("x")
    for output in ("file/v.mp4", "file/deep/v.mp4"):
        _expect_error(run(speech_wav, speaker_png, "-o", output), 4, "Not a directory", "folder")
    assert _tree(Path()) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused_by_the_system(run, speech_wav, speaker_png):
    Path("locked").mkdir(mode=0o555)
    _expect_error(run(speech_wav, speaker_png, "-o", "locked/v.mp4"), 4, "Permission denied", "folder you own")


def test_read_only_folder_is_refused(run, speech_wav, speaker_png, monkeypatch):
    Path("locked").mkdir()
    really_open = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_CREAT and "locked" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return really_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    _expect_error(run(speech_wav, speaker_png, "-o", "locked/v.mp4"), 4, "Read-only file system", "folder you own")
    assert _tree(Path()) == ["locked"]


def test_full_disk_leaves_nothing(run, speech_wav, speaker_png, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    really_open = Path.open

    def full(self, *arguments, **options):
        return really_open(Path("/dev/full") if ".part.json" in self.name else self, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    outcome = run(speech_wav, speaker_png, "-o", "new/v.mp4")
    _expect_error(outcome, 4, "No space left on device", "free some space")
    assert _tree(Path()) == []


def test_encoder_that_may_not_write_more_leaves_nothing(tiny_bundle, speaker_png, tmp_path, make_speech):
    resource = pytest.importorskip("resource")
    speech = make_speech(tmp_path / "long.wav", 4.0)
    (tmp_path / "work").mkdir()

    def limit() -> None:  # 30 kB per file: the record fits, the video does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    words = ["generate", speech, speaker_png, "-m", tiny_bundle, "--steps", "1", "-o", "v.mp4", "--size", "512"]
    done = subprocess.run(
        [sys.executable, "-m", "gesturegen_cli", *map(str, words)],
        cwd=tmp_path / "work",
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "error: cannot write 'v.mp4'" in done.stderr
    assert _tree(tmp_path / "work") == []


# Two runs, and runs that are ended.


def test_second_run_on_one_output_is_refused(run, speech_wav, speaker_png):
    with locked(Path("talk.mp4")):
        _expect_error(run(speech_wav, speaker_png), 4, "another run is writing 'talk.mp4'", "wait until it is done")
    assert _tree(Path()) == []
    assert run(speech_wav, speaker_png).code == 0


def test_lock_left_by_a_killed_run_does_no_harm(run, speech_wav, speaker_png):
    Path(".talk.mp4.lock").write_text("")
    assert run(speech_wav, speaker_png).code == 0
    assert _tree(Path()) == ["talk.json", "talk.mp4"]


def test_lock_is_held_by_one_of_many_at_a_time(tmp_path):
    inside, most, refused = [], [], []

    def work() -> None:
        for _ in range(200):
            try:
                with locked(tmp_path / "v.mp4"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except EnvironmentFault:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 800
    assert _tree(tmp_path) == []


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_run_leaves_nothing(tiny_bundle, speaker_png, tmp_path, make_speech, signum, code):
    speech = make_speech(tmp_path / "long.wav", 60.0)
    work = tmp_path / "work"
    work.mkdir()
    words = ["generate", speech, speaker_png, "-m", tiny_bundle, "--steps", "1", "-o", "out/v.mp4", "--size", "1024"]
    child = subprocess.Popen(
        [sys.executable, "-m", "gesturegen_cli", *map(str, words)],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(work.glob("out/.v.mp4.*.part.mp4")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child.poll() is None
    assert list(work.glob("out/.v.mp4.*.part.mp4"))
    time.sleep(0.3)
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    assert "error: interrupted" in err
    assert "run the same command again" in err
    assert out == ""
    assert _tree(work) == []


# Batches.


@pytest.fixture
def talks(tmp_path, make_speech) -> Path:
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("one.wav", "two.wav"):
        make_speech(folder / name, 0.5, rng_seed=len(name))
    return folder


def test_folder_of_speech_with_one_picture_continues_where_it_stopped(run, talks, speaker_png):
    assert run(talks, speaker_png, "-o", "out").out == "out/one.mp4\nout/two.mp4\n"
    first = Path("out/one.mp4").stat().st_mtime_ns
    Path("out/two.json").unlink()
    again = run(talks, speaker_png, "-o", "out")
    assert again.code == 0
    assert again.out == "out/two.mp4\n"
    assert "done already: out/one.mp4" in again.err
    assert Path("out/one.mp4").stat().st_mtime_ns == first
    assert run(talks, speaker_png, "-o", "out", model=Path("not looked at any more")).code == 0


def test_bad_item_costs_only_itself(run, talks, speaker_png):
    (talks / "broken.wav").write_bytes(b"RIFF....WAVE\0\0\0\0 nothing here")
    (talks / "notes.txt").write_text("not meant")
    outcome = run(talks, speaker_png, "-o", "out", "--json")
    assert outcome.code == 6
    kinds = [event["event"] for event in outcome.events]
    assert kinds == ["failed", "plan", "job", "estimate", "warning", "result", "job", "warning", "result", "error"]
    failed = outcome.events[0]
    assert (failed["path"], failed["exit_code"]) == ("out/broken.mp4", 3)
    assert "1 of 3 videos were not made: broken.mp4" in outcome.events[-1]["message"]
    assert _tree(Path("out")) == ["one.json", "one.mp4", "two.json", "two.mp4"]


def test_batch_of_bad_items_only_loads_no_model(run, tmp_path, speaker_png):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("text")
    outcome = run(tmp_path / "a.wav", tmp_path / "b.wav", speaker_png, "-o", "out")
    _expect_error(outcome, 6, "2 of 2 videos were not made", "run the same command again")
    assert _tree(Path()) == []


def test_item_that_another_run_is_writing_costs_only_itself(run, talks, speaker_png):
    Path("out").mkdir()
    with locked(Path("out/one.mp4")):
        outcome = run(talks, speaker_png, "-o", "out")
    _expect_error(outcome, 6, "another run is writing 'one.mp4'", "run the same command again")
    assert outcome.out == "out/two.mp4\n"


def test_many_with_many_need_to_be_paired(run, talks, tmp_path, make_speaker):
    people = tmp_path / "people"
    people.mkdir()
    for name in ("one.png", "two.png"):
        make_speaker(people / name)
    _expect_error(run(talks, people, "-o", "out"), 2, "2 speech and 2 picture files", "--pair zip")
    assert run(talks, people, "-o", "named", "--pair", "name").out == "named/one.mp4\nnamed/two.mp4\n"
    assert len(run(talks, people, "-o", "all", "--pair", "product").out.splitlines()) == 4
    (people / "two.png").rename(people / "three.png")
    outcome = run(talks, people, "-o", "x", "--pair", "name")
    _expect_error(outcome, 2, "nothing goes with two.wav, three.png", "rename")
    (people / "three.png").unlink()
    _expect_error(run(talks, people, "-o", "x", "--pair", "zip"), 2, "as many pictures as speeches", "product")
    assert not Path("x").exists()


def test_two_items_with_one_output_are_refused_before_any_work(run, talks, speaker_png, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(talks / "one.wav", other / "one.flac")
    outcome = run(talks / "one.wav", other / "one.flac", speaker_png, "-o", "out")
    _expect_error(outcome, 2, "two videos would be called 'one.mp4'", "--manifest")
    _expect_error(run(talks, speaker_png, "-o", "v.mp4"), 2, "is one file, the inputs make 2 videos", "folder")
    assert _tree(Path()) == []


def test_motion_of_a_batch_is_not_written_to_one_file(run, talks, speaker_png):
    outcome = run(talks, speaker_png, "-o", "out", "--motion-out", "m.safetensors")
    _expect_error(outcome, 2, "keeps the motion of one video", "run that pair alone")


# Manifests.


def _manifest(tmp_path: Path, text: str, name: str = "jobs.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_manifest_sets_seed_energy_and_consent_per_video(run, speech_wav, speaker_png, tmp_path):
    rows = (
        "speech,picture,output,seed,energy,consent\ntalk.wav,host.png,a.mp4,4,0.5,yes\n\ntalk.wav,host.png,b/c.mp4,,,\n"
    )
    outcome = run("--manifest", _manifest(tmp_path, rows), "-o", "out")
    assert outcome.code == 0, outcome.err
    assert _tree(Path("out")) == ["a.json", "a.mp4", "b", "b/c.json", "b/c.mp4"]
    first, second = (json.loads(Path("out", name).read_text()) for name in ("a.json", "b/c.json"))
    assert (first["rng_seed"], first["sampling"]["energy"], first["consent"]) == (4, 0.5, "yes")
    assert (second["rng_seed"], second["sampling"]["energy"]) == (0, 1.0)
    assert "consent" not in second


def test_json_lines_manifest_refuses_the_row_without_consent(run, speech_wav, speaker_png, tmp_path):
    rows = [
        {"speech": "talk.wav", "picture": "host.png", "output": f"{n}.mp4", "consent": c}
        for n, c in enumerate(["no", "yes"])
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    outcome = run("--manifest", _manifest(tmp_path, text, "jobs.csv"), "-o", "out")
    _expect_error(outcome, 6, "consent = no", "run the same command again")
    assert _tree(Path("out")) == ["1.json", "1.mp4"]


@pytest.mark.parametrize(
    ("rows", "message", "hint"),
    [
        ("speech,picture,output\n../talk.wav,host.png,a.mp4\n", "line 2: speech = '../talk.wav' leads out", "absolute"),
        ("speech,picture,output\ntalk.wav,out/host.png,a.mp4\n", "picture = 'out/host.png' leads out", "absolute"),
        ("speech,picture,output\ntalk.wav,host.png,../a.mp4\n", "output = '../a.mp4' leads out", "absolute"),
        ("speech,picture,output\ntalk.wav,host.png,a.avi\n", "expected a name that ends in .mp4", "columns"),
        ("speech,picture,output,sead\ntalk.wav,host.png,a.mp4,1\n", "unknown column 'sead'", "did you mean 'seed'?"),
        ("speech,picture\ntalk.wav,host.png\n", "no column output", "columns"),
        ("speech,picture,output\ntalk.wav,host.png\n", "line 2: 2 values, the first line names 3", "columns"),
        ("speech,picture,output,seed\ntalk.wav,host.png,a.mp4,-1\n", "seed = '-1', expected", "columns"),
        ("speech,picture,output,seed\ntalk.wav,host.png,a.mp4,1.5\n", "expected a whole number", "columns"),
        ("speech,picture,output,energy\ntalk.wav,host.png,a.mp4,nan\n", "energy = 'nan', expected", "columns"),
        ("speech,picture,output,consent\ntalk.wav,host.png,a.mp4,maybe\n", "expected yes or no", "columns"),
        ("speech,picture,output\n", "lists no video", "columns"),
        ('speech,picture,output\n"talk.wav,host.png,a.mp4\n', "not CSV", "columns"),
        ('{"speech": "talk.wav", "picture": 3, "output": "a.mp4"}\n', "picture = '3', expected a path", "columns"),
        ('{"speech": "talk.wav", "speech": "b", "picture": "c", "output": "d"}\n', "stands twice", "columns"),
        ('{"speech": \n', "line 1: not JSON", "columns"),
    ],
)
def test_bad_manifests_are_refused(run, speech_wav, speaker_png, tmp_path, rows, message, hint):
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.move(speech_wav, inner)
    shutil.copy(speaker_png, inner)
    (inner / "out").symlink_to(tmp_path)
    _expect_error(run("--manifest", _manifest(inner, rows)), 3, message, hint)
    assert sorted(os.listdir(inner)) == ["host.png", "jobs.csv", "out", "talk.wav"]


def test_absolute_paths_in_a_manifest_are_taken(run, speech_wav, speaker_png, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    text = f"speech,picture,output\n{speech_wav},{speaker_png},v.mp4\n"
    assert run("--manifest", _manifest(inner, text)).code == 0
    assert _tree(inner) == ["jobs.csv", "v.json", "v.mp4"]


def test_two_rows_with_one_output_are_refused(run, speech_wav, speaker_png, tmp_path):
    rows = "speech,picture,output\ntalk.wav,host.png,a.mp4\ntalk.wav,host.png,./b/../a.mp4\n"
    assert run("--manifest", _manifest(tmp_path, rows)).code == 3
    rows = "speech,picture,output\ntalk.wav,host.png,a.mp4\ntalk.wav,host.png,./a.mp4\n"
    _expect_error(run("--manifest", _manifest(tmp_path, rows)), 2, "two videos would be called 'a.mp4'", "rename")


def test_long_form_settings_reach_the_motion_and_the_record(run, speech_wav, speaker_png):
    long_form = ["--set", "sampling.overlap=4", "--set", "sampling.candidates=3"]
    for name, options in {"plain": ["--set", "sampling.overlap=0"], "long": long_form}.items():
        assert (
            run(speech_wav, speaker_png, "-o", f"{name}.mp4", "--motion-out", f"{name}.safetensors", *options).code == 0
        )
    record = json.loads(Path("long.json").read_text())
    assert (record["sampling"]["overlap"], record["sampling"]["candidates"]) == (4, 3)
    assert len(record["seam_scores"]) == 2  # windows of 16 frames from 0, 12 and 24
    plain, long = (load_motion(f"{name}.safetensors", expected_dim=62).motion for name in ("plain", "long"))
    assert plain.shape == long.shape
    assert (plain[:12] == long[:12]).all()
    assert not (plain[12:] == long[12:]).any(dim=1).any()


def test_an_overlap_as_long_as_a_window_is_a_usage_error(run, speech_wav, speaker_png):
    outcome = run(speech_wav, speaker_png, "--set", "sampling.overlap=16")
    _expect_error(outcome, 2, "sampling.overlap = 16, the model's windows have 16 frames", "sampling.overlap=2")
