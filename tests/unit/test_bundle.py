"""Bundles: what was written is what is read, and a damaged one is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save

from gesturegen_cli import bundle as bundles
from gesturegen_cli.bundle import BundleSpec, ComponentSpec, open_bundle, verify_bundle, write_bundle
from gesturegen_cli.errors import BundleError, EnvironmentFault
from gesturegen_cli.tensor_file import check_header, read_header

WEIGHTS = "denoiser.safetensors"


@pytest.fixture
def copy(tiny_bundle, tmp_path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def edit_manifest(path: Path, change) -> None:
    tree = yaml.safe_load((path / bundles.MANIFEST).read_text())
    change(tree)
    (path / bundles.MANIFEST).write_text(yaml.safe_dump(tree))


def put_weights(path: Path, data: bytes) -> None:
    """Replace the denoiser's weights and its hash, as a forger would."""
    (path / WEIGHTS).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit_manifest(path, lambda tree: tree["components"]["denoiser"].update(sha256=digest))


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        verify_bundle(path)
    return caught.value


def test_a_written_bundle_reads_back_whole(tmp_path):
    tensors = {"normalizer": {"mean": torch.arange(3.0), "count": torch.tensor([4])}}
    components = {"deviation": ComponentSpec("flow"), "normalizer": ComponentSpec("normalizer")}
    written = write_bundle(tmp_path / "b", BundleSpec("deviation", 64, {}), components, tensors, "# card\n")
    read = open_bundle(tmp_path / "b")
    assert read == written
    assert (tmp_path / "b" / "README.md").read_text() == "# card\n"
    loaded = bundles.load_tensors(read, "normalizer")
    assert torch.equal(loaded["mean"], torch.arange(3.0))
    assert torch.equal(loaded["count"], torch.tensor([4]))
    assert os.listdir(tmp_path) == ["b"]


def test_half_precision_is_stored_as_such_and_read_as_float32(tmp_path):
    value = torch.tensor([1.0, 0.1])
    components = {"deviation": ComponentSpec("flow"), "normalizer": ComponentSpec("normalizer")}
    spec = BundleSpec("deviation", 64, {})
    bundle = write_bundle(tmp_path / "b", spec, components, {"normalizer": {"mean": value}}, "", half=True)
    assert load_file(tmp_path / "b" / "normalizer.safetensors")["mean"].dtype == torch.float16
    loaded = bundles.load_tensors(bundle, "normalizer")["mean"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, value.half().float())


def test_the_digest_changes_with_the_weights(tiny_bundle, copy):
    assert open_bundle(copy).digest == open_bundle(tiny_bundle).digest
    tensors = load_file(copy / WEIGHTS)
    put_weights(copy, save({k: v + 1 if v.is_floating_point() else v for k, v in tensors.items()}))
    assert open_bundle(copy).digest != open_bundle(tiny_bundle).digest


def test_an_undamaged_bundle_verifies(tiny_bundle):
    assert verify_bundle(tiny_bundle).spec.kind == "full"


def test_a_component_is_in_eval_mode_and_repeatable(tiny_bundle):
    bundle = open_bundle(tiny_bundle)
    one, two = (bundles.load_component(bundle, "deviation") for _ in range(2))
    assert not one.training
    frames = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(one.encode(frames), two.encode(frames))


def test_no_bundle_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    for name, reason in (("nope", "not there"), ("file", "a file"), (".", "without gesturegen.yaml")):
        with pytest.raises(BundleError, match=reason):
            open_bundle(tmp_path / name)


def test_a_wrong_hash_is_refused(copy):
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    assert "not the file the bundle was made with (sha256" in refusal(copy).message


def test_a_missing_weights_file_is_refused(copy):
    (copy / WEIGHTS).unlink()
    assert "denoiser.safetensors is missing" in refusal(copy).message


def test_missing_unexpected_and_misshapen_tensors_are_listed(copy):
    tensors = load_file(copy / WEIGHTS)
    first, second, *_ = (k for k, v in tensors.items() if v.ndim == 2)
    tensors["extra"] = tensors.pop(first)
    tensors[second] = torch.zeros(1, 2)
    put_weights(copy, save(tensors))
    message = refusal(copy).message
    assert f"missing {first}" in message
    assert "unexpected extra" in message
    assert f"{second} is (1, 2), expected" in message


def test_values_that_are_not_finite_are_refused(copy):
    tensors = load_file(copy / WEIGHTS)
    name = next(k for k, v in tensors.items() if v.is_floating_point())
    tensors[name].view(-1)[0] = float("nan")
    put_weights(copy, save(tensors))
    assert f"tensor '{name}' holds values that are not finite" in refusal(copy).message


class Boom:
    """Leaves a trace when it is unpickled."""

    trace = ""

    def __reduce__(self):
        return (open, (Boom.trace, "w"))


def test_a_header_may_be_as_long_as_a_pickle_begins(tmp_path):
    # The file starts with the header's length, little-endian, and 0x80 is also how a pickle starts.
    candidates = (save({"weight": torch.zeros(2)}, metadata={"x": "y" * count}) for count in range(400))
    data = next(data for data in candidates if data[0] == 0x80)
    check_header(data, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
def test_a_pickle_inside_is_refused_and_not_opened(copy, tmp_path, kind):
    Boom.trace = str(tmp_path / "trace")
    if kind == "pickle":
        data = pickle.dumps(Boom())
    else:
        torch.save(Boom(), tmp_path / "x.pt", _use_new_zipfile_serialization=kind == "torch")
        data = (tmp_path / "x.pt").read_bytes()
    put_weights(copy, data)
    assert "is a pickle, not safetensors" in refusal(copy).message
    assert not Path(Boom.trace).exists()


def header_of(text: str, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + tail


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not a safetensors file (0 bytes"),
        (b"RIFF" * 10, "is not a safetensors file"),
        (struct.pack("<Q", 1 << 60) + b"{}", "is not a safetensors file"),
        (header_of('{"a": '), "header is not JSON"),
        (header_of("[" * 100_000), "header is not JSON"),
        (
            header_of(
                '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
                b"\0" * 4,
            ),
            "header entry 'a' stands twice",
        ),
        (header_of('{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}', b"\0" * 4), "is not a safetensors file"),
        (header_of("[]"), "is not a safetensors file"),
    ],
)
def test_files_that_are_no_safetensors_are_refused(copy, data, reason):
    put_weights(copy, data)
    assert reason in refusal(copy).message


@pytest.mark.parametrize("file", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", ".hidden", ".."])
def test_a_weights_file_outside_the_bundle_is_refused(copy, file):
    edit_manifest(copy, lambda tree: tree["components"]["denoiser"].update(file=file))
    assert "expected a plain file name" in refusal(copy).message


def test_a_link_as_weights_file_is_judged_by_its_hash(copy, tmp_path):
    (tmp_path / "other").write_bytes(b"secret")
    (copy / WEIGHTS).unlink()
    (copy / WEIGHTS).symlink_to(tmp_path / "other")
    assert "not the file the bundle was made with" in refusal(copy).message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.update(format=99), "bundle format 99, this version reads 1"),
        (lambda t: t.pop("format"), "bundle format None"),
        (lambda t: t.pop("size"), "size"),
        (lambda t: t.update(size="big"), "size = 'big', expected a whole number"),
        (lambda t: t.update(surprise=1), "unknown key 'surprise'"),
        (lambda t: t["components"].pop("deviation"), "no deviation component"),
        (lambda t: t["components"]["denoiser"].update(name="os.system"), "unknown denoiser 'os.system'"),
        (lambda t: t["components"]["denoiser"]["params"].update(nope=1), "unknown key 'transformer.params.nope'"),
        (lambda t: t["components"].update(denoiser=3), "components.denoiser = 3, expected a mapping"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy, change, reason):
    edit_manifest(copy, change)
    assert reason in refusal(copy).message


def test_a_manifest_with_python_tags_is_refused(copy, tmp_path):
    target = tmp_path / "made"
    (copy / bundles.MANIFEST).write_text(f"format: !!python/object/apply:os.mkdir ['{target}']\n")
    assert "not plain YAML" in refusal(copy).message
    assert not target.exists()


def test_an_older_bundle_is_replaced_whole(copy):
    components = {"deviation": ComponentSpec("flow")}
    write_bundle(copy, BundleSpec("deviation", 128, {}), components, {}, "new\n")
    assert sorted(p.name for p in copy.iterdir()) == ["README.md", bundles.MANIFEST]
    assert os.listdir(copy.parent) == [copy.name]


def test_a_failed_write_leaves_the_older_bundle_and_nothing_else(copy, monkeypatch):
    before = {p.name: p.read_bytes() for p in copy.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(copy, BundleSpec("deviation", 64, {}), {"deviation": ComponentSpec("flow")}, {}, "new\n")
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert os.listdir(copy.parent) == [copy.name]


KILLED_BETWEEN_RENAMES = """
import os, sys
from pathlib import Path
from gesturegen_cli import bundle
from gesturegen_cli.bundle import BundleSpec, ComponentSpec
bundle._exchange = lambda one, two: False  # as on a system that cannot swap folders
rename = Path.rename
def killed(self, target):
    if self.name.endswith(".part"):
        os._exit(9)
    return rename(self, target)
Path.rename = killed
bundle.write_bundle(Path(sys.argv[1]), BundleSpec("deviation", 64, {}), {"deviation": ComponentSpec("flow")}, {}, "")
"""


@pytest.fixture
def killed(copy) -> Path:
    """A bundle whose replacement was killed between the two renames."""
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN_RENAMES, str(copy)])
    assert done.returncode == 9
    assert not copy.exists()
    return copy


def test_a_bundle_whose_replacement_was_killed_is_found_again(killed, tiny_bundle):
    assert open_bundle(killed).digest == open_bundle(tiny_bundle).digest
    assert killed.is_dir()


def test_the_next_write_tidies_up_after_a_killed_one(killed):
    (killed.parent / ".tiny.1.part").mkdir()  # of a process that runs
    (killed.parent / ".tiny.other.part").mkdir()
    write_bundle(killed, BundleSpec("deviation", 128, {}), {"deviation": ComponentSpec("flow")}, {}, "new\n")
    assert sorted(os.listdir(killed.parent)) == [".tiny.1.part", ".tiny.other.part", "tiny"]
    assert open_bundle(killed).spec.size == 128


def test_without_an_exchange_the_older_bundle_is_replaced_whole_too(copy, monkeypatch):
    monkeypatch.setattr(bundles, "_exchange", lambda one, two: False)
    write_bundle(copy, BundleSpec("deviation", 128, {}), {"deviation": ComponentSpec("flow")}, {}, "new\n")
    assert open_bundle(copy).spec.size == 128
    assert os.listdir(copy.parent) == [copy.name]


def test_a_failed_rename_leaves_the_older_bundle(copy, monkeypatch):
    monkeypatch.setattr(bundles, "_exchange", lambda one, two: False)
    rename, before = Path.rename, open_bundle(copy).digest

    def failing(self, target):
        if self.name.endswith(".part"):
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        write_bundle(copy, BundleSpec("deviation", 128, {}), {"deviation": ComponentSpec("flow")}, {}, "new\n")
    assert open_bundle(copy).digest == before
    assert os.listdir(copy.parent) == [copy.name]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can swap folders")
def test_a_replaced_bundle_is_there_at_every_moment(copy, tmp_path):
    (tmp_path / "new").mkdir()
    assert bundles._exchange(tmp_path / "new", copy)
    assert (tmp_path / "new" / bundles.MANIFEST).is_file()
    assert not any(copy.iterdir())
    assert not bundles._exchange(tmp_path / "nothing", copy)


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(copy, tmp_path):
    (tmp_path / "link").symlink_to(copy)
    write_bundle(tmp_path / "link", BundleSpec("deviation", 128, {}), {"deviation": ComponentSpec("flow")}, {}, "new\n")
    assert (tmp_path / "link").is_symlink()
    assert open_bundle(copy).spec.size == 128


def test_a_file_in_the_place_of_the_bundle_stays(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(EnvironmentFault, match="is a file, expected a bundle folder"):
        write_bundle(tmp_path / "notes", BundleSpec("deviation", 64, {}), {"deviation": ComponentSpec("flow")}, {}, "")
    assert (tmp_path / "notes").read_text() == "mine"


def test_tensors_that_share_memory_or_have_gaps_are_written_apart(tmp_path):
    whole = torch.arange(6.0)
    tensors = {"a": whole, "b": whole, "part": whole[2:4], "turned": whole.view(2, 3).T}
    components = {"deviation": ComponentSpec("flow"), "normalizer": ComponentSpec("normalizer")}
    bundle = write_bundle(tmp_path / "b", BundleSpec("deviation", 64, {}), components, {"normalizer": tensors}, "")
    loaded = bundles.load_tensors(bundle, "normalizer")
    assert {name: torch.equal(loaded[name], value) for name, value in tensors.items()} == dict.fromkeys(tensors, True)


def test_a_header_is_read_without_the_tensors(tiny_bundle, tmp_path):
    header = read_header(tiny_bundle / WEIGHTS)
    tensors = load_file(tiny_bundle / WEIGHTS)
    assert {k: tuple(v["shape"]) for k, v in header.items() if k != "__metadata__"} == {
        k: tuple(v.shape) for k, v in tensors.items()
    }
    (tmp_path / "x").write_bytes(b"\x80\x02}q")
    with pytest.raises(BundleError, match="is a pickle"):
        read_header(tmp_path / "x")


def test_a_folder_with_other_things_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(EnvironmentFault, match="exists and is not a bundle"):
        write_bundle(tmp_path / "photos", BundleSpec("deviation", 64, {}), {"deviation": ComponentSpec("flow")}, {}, "")
    assert os.listdir(tmp_path) == ["photos"]


def test_metadata_of_the_weights_says_kind_and_version(tiny_bundle):
    data = (tiny_bundle / WEIGHTS).read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert header["__metadata__"] == {"gesturegen.kind": "denoiser", "gesturegen.format_version": "1"}
