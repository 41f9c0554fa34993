"""`gesturegen models`: bundles listed, described, verified; checkpoints of strangers imported, or refused whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from gesturegen_cli import registry
from gesturegen_cli.bundle import MANIFEST, load_component, open_bundle
from gesturegen_cli.cli.app import app

TINY = {
    "size": 64,
    "extractor_channels": (8, 16, 16, 32),
    "extractor_blocks": (1, 1, 1),
    "source_channels": (32, 32, 32, 32),
    "source_blocks": 1,
    "neutral_channels": (48, 64),
    "field_channels": (16, 16, 16, 32),
    "field_blocks": 1,
    "decoder_blocks": 1,
}
SETTINGS = [word for key, value in TINY.items() for word in ("--set", f"model.{key}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def model():
    """A small model with the published names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry.build("deviation_models", "rotation", TINY).eval()


@pytest.fixture
def weights(model):
    """Its state dict, which a test may change."""
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["models", *map(str, words)])


@pytest.fixture
def bring(run):
    """Import `model.my2.pt` of the working folder as a bundle `b`."""
    return lambda *words: run("import", "--kind", "ssl", "model.my2.pt", "-o", "b", *SETTINGS, *words)


def published(weights, prefix="module."):
    return {"epoch": 3, "state_dict": {prefix + name: value for name, value in weights.items()}}


@pytest.mark.parametrize("form", ["zip", "legacy", "bare", "safetensors"])
def test_an_imported_model_computes_what_the_original_does(bring, weights, model, tmp_path, form):
    file = tmp_path / "model.my2.pt"
    if form == "safetensors":
        save_file(weights, file)
    elif form == "bare":
        torch.save(weights, file)
    else:
        torch.save(published(weights), file, _use_new_zipfile_serialization=form == "zip")
    done = bring()
    assert done.exit_code == 0, done.stderr
    imported = load_component(open_bundle(tmp_path / "b"), "deviation")
    frames = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        motion = model.encode(frames)
        assert torch.equal(imported.encode(frames), motion)
        expected = model.animate(model.encode_source(frames[:1]), motion)
        assert torch.equal(imported.animate(imported.encode_source(frames[:1]), motion), expected)
    assert sorted(os.listdir(tmp_path)) == ["b", "model.my2.pt"]


def test_the_bundle_says_where_it_came_from_and_that_no_licence_is_stated(bring, weights, tmp_path):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    done = bring()
    spec = open_bundle(tmp_path / "b").spec
    assert (spec.kind, spec.size, spec.licence) == ("deviation", 64, "unstated")
    facts = spec.training["import"]
    digest = hashlib.sha256((tmp_path / "model.my2.pt").read_bytes()).hexdigest()
    assert facts["files"] == [{"name": "model.my2.pt", "sha256": digest}]
    assert facts["tensors"] == len(weights)
    assert "states no licence" in done.stderr
    card = (tmp_path / "b" / "README.md").read_text()
    assert "ask the authors before you pass them on" in card
    assert str(tmp_path) not in card + (tmp_path / "b" / MANIFEST).read_text()


def test_the_map_of_names_is_told_in_groups_or_whole(bring, weights, tmp_path):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    grouped = bring().stderr
    assert "module.generator.first.* -> deviation: generator.first.*  (4 tensors)" in grouped
    counts = [int(line.rsplit("(", 1)[1].split()[0]) for line in grouped.splitlines() if line.endswith(" tensors)")]
    assert sum(counts) == len(weights)
    whole = bring("-v", "--exists", "overwrite").stderr
    assert "module.pose_base.conv1.bias -> deviation: pose_base.conv1.bias" in whole
    lines = bring("--json", "--exists", "overwrite").stdout.splitlines()
    result = json.loads(lines[-1])
    assert result["licence"] == "unstated"
    assert result["names"]["module.pose_base.conv1.bias"] == "deviation: pose_base.conv1.bias"


def test_half_is_half_the_size(bring, weights, tmp_path):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    assert bring("--half").exit_code == 0
    stored = load_file(tmp_path / "b" / "deviation.safetensors")
    assert stored["pose_base.conv1.weight"].dtype == torch.float16
    assert stored["pose_base.norm1.num_batches_tracked"].dtype == torch.int64


def test_double_precision_and_shared_memory_are_stored_as_usual(bring, weights, tmp_path):
    weights["pose_base.conv1.weight"] = weights["pose_base.conv1.weight"].double()
    weights["pose_base.norm1.bias"] = weights["pose_base.norm1.weight"]
    torch.save(published(weights), tmp_path / "model.my2.pt")
    assert bring().exit_code == 0
    assert load_file(tmp_path / "b" / "deviation.safetensors")["pose_base.conv1.weight"].dtype == torch.float32


def without(name):
    return lambda w: w.pop(name)


def with_value(name, value):
    return lambda w: w[name].view(-1)[:1].fill_(value)


@pytest.mark.parametrize(
    ("change", "words", "found"),
    [
        (without("pose_base.conv1.bias"), [], "missing pose_base.conv1.bias"),
        (lambda w: w.update(extra=torch.zeros(2)), [], "unexpected extra"),
        (
            lambda w: w.update({"pose_base.conv1.bias": torch.zeros(9)}),
            [],
            "pose_base.conv1.bias is (9,), expected (8,)",
        ),
        (with_value("pose_base.conv1.bias", float("nan")), [], "pose_base.conv1.bias holds values that are not finite"),
        (with_value("pose_base.conv1.bias", float("inf")), [], "pose_base.conv1.bias holds values that are not finite"),
        (with_value("pose_base.norm1.running_var", 1e6), ["--half"], "too large for torch.float16 (leave out --half)"),
        (
            lambda w: w.update({"pose_base.conv1.bias": torch.zeros(8, dtype=torch.int64)}),
            [],
            "pose_base.conv1.bias holds torch.int64, expected torch.float32",
        ),
        (lambda w: w.update({"module.pose_base.conv1.bias": torch.zeros(8)}), [], "with and without 'module.'"),
        (lambda w: [w.pop(k) for k in list(w) if "pose_base" in k], [], "and "),
    ],
)
def test_tensors_that_do_not_fit_are_listed_and_nothing_is_written(bring, weights, tmp_path, change, words, found):
    change(weights)
    prefix = "" if "module.pose_base.conv1.bias" in weights else "module."
    torch.save(published(weights, prefix), tmp_path / "model.my2.pt")
    done = bring(*words)
    assert done.exit_code == 3, done.stderr
    assert found in done.stderr
    assert "hint: " in done.stderr
    assert os.listdir(tmp_path) == ["model.my2.pt"]


def test_missing_and_unexpected_names_are_both_told(bring, weights, tmp_path):
    torch.save({"state_dict": {f"other.{name}": value for name, value in weights.items()}}, tmp_path / "model.my2.pt")
    done = bring()
    assert done.exit_code == 3
    assert f"and {len(weights) - 4} more; unexpected other." in done.stderr


def test_the_published_size_is_expected_without_settings(run, weights, tmp_path):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    done = run("import", "--kind", "ssl", "model.my2.pt", "-o", "b")
    assert done.exit_code == 3
    assert "pose_base.conv1.weight is (8, 3, 7, 7), expected (64, 3, 7, 7)" in done.stderr or "missing" in done.stderr
    assert os.listdir(tmp_path) == ["model.my2.pt"]


class Boom:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return (open, ("trace", "w"))


def cut(weights, path, modern=True):
    torch.save(published(weights), path, _use_new_zipfile_serialization=modern)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "found", "hint"),
    [
        (cut, "is cut off or damaged", "fetch the file again"),
        (lambda w, p: cut(w, p, modern=False), "is cut off or damaged", "fetch the file again"),
        (
            lambda w, p: torch.save({"state_dict": {**w, "x": Boom()}}, p),
            "io.open', expected tensors",
            "load it there and save",
        ),
        (lambda w, p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer", "git lfs pull"),
        (lambda w, p: p.write_text("<!DOCTYPE html><html>Quota</html>"), "is a web page", "in a browser"),
        (lambda w, p: p.write_bytes(b""), "is empty (0 bytes)", "interrupted"),
        (lambda w, p: p.mkdir(), "is a folder, expected a regular file", "name one file"),
        (lambda w, p: None, "does not exist", "check the spelling"),
        (
            lambda w, p: torch.save({"epoch": 3, "weights": w}, p),
            "holds epoch, weights, expected 'state_dict'",
            "model",
        ),
        (lambda w, p: torch.save({"state_dict": 3}, p), "holds one int, expected named tensors", "fetch"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(bring, weights, tmp_path, make, found, hint):
    make(weights, tmp_path / "model.my2.pt")
    before = sorted(os.listdir(tmp_path))
    done = bring()
    assert done.exit_code == 3, done.stderr
    assert found in done.stderr
    assert hint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert not Path("trace").exists()


def test_an_unknown_kind_or_setting_suggests_the_nearest(run, bring, tmp_path, monkeypatch):
    monkeypatch.setenv(registry.ENVIRONMENT, "none")  # whatever is installed beside
    (tmp_path / "model.my2.pt").write_bytes(b"x")
    done = run("import", "--kind", "sls", "model.my2.pt", "-o", "b")
    assert done.exit_code == 2
    assert "unknown importer 'sls', installed: ssl" in done.stderr
    assert "did you mean 'ssl'?" in done.stderr
    done = bring("--set", "modle.size=3")
    assert done.exit_code == 2
    assert "unknown key 'ssl.params.modle'" in done.stderr
    assert bring("--exists", "maybe").exit_code == 2
    assert os.listdir(tmp_path) == ["model.my2.pt"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", [[], ["--exists", "overwrite"]])
def test_a_folder_or_file_that_is_no_bundle_is_not_replaced(bring, weights, tmp_path, words):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "photo.jpg").write_bytes(b"mine")
    before = contents(tmp_path)
    done = bring(*words)
    assert done.exit_code == 4
    assert "exists and is not a bundle" in done.stderr
    assert contents(tmp_path) == before
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"mine")
    done = bring(*words)
    assert done.exit_code == 4
    assert "is a file, expected a bundle folder" in done.stderr
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_an_older_bundle_is_replaced_only_when_asked_and_only_by_a_good_one(bring, weights, tmp_path, tiny_bundle):
    torch.save(published(weights), tmp_path / "model.my2.pt")
    shutil.copytree(tiny_bundle, tmp_path / "b")
    before = contents(tmp_path)
    done = bring()
    assert done.exit_code == 2
    assert "bundle 'b' exists" in done.stderr
    assert "--exists overwrite" in done.stderr
    assert contents(tmp_path) == before
    cut(weights, tmp_path / "model.my2.pt")
    assert bring("--exists", "overwrite").exit_code == 3
    assert contents(tmp_path / "b") == {k[2:]: v for k, v in before.items() if k.startswith("b/")}
    torch.save(published(weights), tmp_path / "model.my2.pt")
    assert bring("--exists", "overwrite").exit_code == 0
    assert open_bundle(tmp_path / "b").components["deviation"].name == "rotation"


def test_a_bundle_that_holds_the_checkpoint_is_not_replaced(run, weights, tmp_path, tiny_bundle):
    shutil.copytree(tiny_bundle, tmp_path / "b")
    torch.save(published(weights), tmp_path / "b" / "x.pt")
    done = run("import", "--kind", "ssl", "b/x.pt", "-o", "b", *SETTINGS, "--exists", "overwrite")
    assert done.exit_code == 2
    assert "output 'b' holds the input 'x.pt'" in done.stderr
    assert (tmp_path / "b" / "x.pt").exists()


PLUGIN = '''
from dataclasses import dataclass
from gesturegen_cli.types import ImportedComponent, ImportedModel
class Theirs:
    """A second origin: one file."""
    @dataclass(frozen=True)
    class Config:
        mel_bins: int = 16
    def __init__(self, config):
        self.config = config
    def __call__(self, files):
        from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
        (file,) = files
        tensors = {k.removeprefix("theirs."): v for k, v in named_tensors(read_checkpoint(file), file).items()}
        names = {f"theirs.{k}": f"deviation: {k}" for k in tensors}
        part = ImportedComponent("rotation", TINY, tensors)
        return ImportedModel({"deviation": part}, names, "somebody", "CC0-1.0")
'''


def test_a_further_kind_is_one_file(run, weights, tmp_path, monkeypatch):
    (tmp_path / "their_importer.py").write_text(f"TINY = {TINY!r}\n{PLUGIN}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.ENVIRONMENT, "importers:theirs=their_importer:Theirs")
    torch.save({f"theirs.{name}": value for name, value in weights.items()}, tmp_path / "x.pt")
    done = run("import", "--kind", "theirs", "x.pt", "-o", "b")
    assert done.exit_code == 0, done.stderr
    assert "states no licence" not in done.stderr
    assert open_bundle(tmp_path / "b").spec.licence == "CC0-1.0"
    assert "CC0-1.0" in (tmp_path / "b" / "README.md").read_text()
    monkeypatch.delitem(sys.modules, "their_importer")


WHOLE = """
from dataclasses import dataclass
from gesturegen_cli.types import ImportedComponent, ImportedModel
class Whole:
    @dataclass(frozen=True)
    class Config:
        settings: dict
    def __init__(self, config):
        self.config = config
    def __call__(self, files):
        from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
        tensors = [named_tensors(read_checkpoint(file), file) for file in files]
        parts = {
            "deviation": ImportedComponent("rotation", TINY, tensors[0]),
            "audio_encoder": ImportedComponent("log-mel", {"mel_bins": 16}, {}),
            "denoiser": ImportedComponent("transformer", DENOISER, tensors[1]),
        }
        return ImportedModel(parts, {}, "somebody", "CC0-1.0", settings=self.config.settings)
"""


@pytest.fixture
def whole(run, weights, tmp_path, monkeypatch):
    """Import two files as a bundle from speech to video, with these settings."""
    sizes = {"motion_dim": 147, "audio_dim": 20, "frames": 8, "seed_frames": 2, "width": 16, "layers": 1}
    denoiser = registry.build("denoisers", "transformer", sizes).state_dict()
    (tmp_path / "whole_importer.py").write_text(f"TINY, DENOISER = {TINY!r}, {sizes!r}\n{WHOLE}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.ENVIRONMENT, "importers:whole=whole_importer:Whole")
    torch.save(weights, tmp_path / "one.pt")
    torch.save(denoiser, tmp_path / "two.pt")
    yield lambda settings: run(
        "import", "--kind", "whole", "one.pt", "two.pt", "-o", "b", "--set", f"settings={json.dumps(settings)}"
    )
    monkeypatch.delitem(sys.modules, "whole_importer", raising=False)


def test_two_files_become_a_bundle_that_generates_as_its_origin_does(whole, tmp_path, speech_wav, speaker_png):
    sampling = {"steps": 3, "eta": 1.0, "guidance": 2.0, "overlap": 0, "clip": 1.0}
    done = whole({"window": {"frames": 8, "seed_frames": 2, "stride": 1}, "sampling": sampling})
    assert done.exit_code == 0, done.stderr
    bundle = open_bundle(tmp_path / "b")
    assert (bundle.spec.kind, bundle.spec.window.frames, bundle.sampling.steps) == ("full", 8, 3)
    assert [file["name"] for file in bundle.spec.training["import"]["files"]] == ["one.pt", "two.pt"]
    normalizer = load_file(tmp_path / "b" / "normalizer.safetensors")
    assert normalizer["mean"].eq(0).all()
    assert normalizer["std"].eq(1).all()
    words = ["generate", str(speech_wav), str(speaker_png), "-m", str(tmp_path / "b"), "-o", str(tmp_path / "v.mp4")]
    made = CliRunner().invoke(app, [*words, "--guidance", "1", "--set", "sampling.eta=0.5"])
    assert made.exit_code == 0, made.stderr
    used = json.loads((tmp_path / "v.json").read_text())["sampling"]
    assert {key: used[key] for key in sampling} == sampling | {"guidance": 1.0, "eta": 0.5}  # what the user sets wins


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 3}, "importer sets size, it may set diffusion, fps, sampling, window"),
        ({"window": {"frames": 2}}, "window.frames = 2, expected at least 8"),
        ({"sampling": {"stepz": 2}}, "unknown key 'sampling.stepz'"),
        ({"sampling": {"render_batch": 2}}, "render_batch is set, which is for each machine to choose"),
        ({"sampling": {"render_precision": "bf16"}}, "render_precision is set, which is for each machine to choose"),
        ({"window": {"frames": 8, "seed_frames": 2, "stride": 1}}, "sampling.overlap = 10, the model's windows have 8"),
    ],
)
def test_wrong_settings_of_an_importer_leave_no_bundle(whole, tmp_path, settings, message):
    done = whole(settings)
    assert done.exit_code in (2, 3), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "b").exists()


def test_the_published_stage_1_is_one_file(run, weights, tmp_path):
    for name in ("x.pt", "y.pt"):
        torch.save(published(weights), tmp_path / name)
    done = run("import", "--kind", "ssl", "x.pt", "y.pt", "-o", "b", *SETTINGS)
    assert done.exit_code == 2
    assert "2 checkpoints, the kind 'ssl' takes 1" in done.stderr
    done = run("import", "--kind", "ssl", "x.pt", "./x.pt", "-o", "b", *SETTINGS)
    assert done.exit_code == 2
    assert "named twice" in done.stderr


NOTHING = """
from dataclasses import dataclass
from gesturegen_cli.types import ImportedComponent, ImportedModel
class Nothing:
    @dataclass(frozen=True)
    class Config:
        pass
    def __init__(self, config):
        self.config = config
    def __call__(self, files):
        part = ImportedComponent("log-mel", {}, {})
        return ImportedModel({"denoiser": part}, {}, "somebody")
"""


def test_an_importer_that_gives_half_a_model_is_told_so(run, tmp_path, monkeypatch):
    (tmp_path / "nothing_importer.py").write_text(NOTHING)
    (tmp_path / "x.pt").write_bytes(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.ENVIRONMENT, "importers:nothing=nothing_importer:Nothing")
    done = run("import", "--kind", "nothing", "x.pt", "-o", "b")
    assert done.exit_code == 2
    assert "importer 'nothing' gives no audio_encoder and no deviation" in done.stderr
    monkeypatch.delitem(sys.modules, "nothing_importer")


def test_the_list_has_what_comes_along_and_what_is_below_folders(run, tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "runs" / "one" / "bundle")
    shutil.copytree(tiny_bundle, tmp_path / "runs" / ".hidden.12.part")
    done = run("list", "runs")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "components", "size", "licence", "MB"]
    assert lines[1].startswith("base ")
    assert [line.split()[0] for line in lines[1:]] == ["base", "runs/one/bundle"]
    rows = json.loads(run("list", "runs", "--json").stdout)["bundles"]
    assert (rows[1]["kind"], rows[1]["size"], rows[1]["licence"]) == ("full", 64, "unstated")


def test_a_damaged_bundle_costs_the_list_only_itself(run, tiny_bundle, tmp_path):
    for name in ("bad", "good"):
        shutil.copytree(tiny_bundle, tmp_path / "runs" / name)
    (tmp_path / "runs" / "bad" / MANIFEST).write_text("format: 99\n")
    done = run("list", "runs")
    assert done.exit_code == 6
    assert "runs/good" in done.stdout
    assert "bundle format 99" in done.stderr
    for folder, reason in (("nothing", "does not exist"), ("runs/bad/README.md", "is a file")):
        done = run("list", folder)
        assert done.exit_code == 3
        assert reason in done.stderr


def test_info_tells_facts_components_and_sizes(run, tiny_bundle):
    done = run("info", tiny_bundle)
    assert done.exit_code == 0
    for part in (
        "kind: full",
        "size: 64",
        "licence: unstated",
        "name: transformer",
        "provider: gesturegen",
        "width: 32",
    ):
        assert part in done.stdout
    facts = json.loads(run("info", tiny_bundle, "--json").stdout)
    tensors = load_file(tiny_bundle / "denoiser.safetensors")
    assert facts["components"]["denoiser"]["tensors"] == len(tensors)
    assert facts["components"]["denoiser"]["values"] == sum(value.numel() for value in tensors.values())
    assert facts["digest"] == open_bundle(tiny_bundle).digest
    done = run("info", "nope")
    assert done.exit_code == 3
    assert "no bundle 'nope' (not there)" in done.stderr


def test_verify_says_one_line_each(run, tiny_bundle, tmp_path):
    bad = Path(shutil.copytree(tiny_bundle, tmp_path / "bad"))
    done = run("verify", tiny_bundle)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"good  {tiny_bundle}: full, ")
    tree = yaml.safe_load((bad / MANIFEST).read_text())
    tree["components"]["denoiser"]["sha256"] = "0" * 64
    (bad / MANIFEST).write_text(yaml.safe_dump(tree))
    done = run("verify", "bad")
    assert done.exit_code == 3
    assert "is not the file the bundle was made with" in done.stderr
    done = run("verify", "bad", tiny_bundle)
    assert done.exit_code == 6
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["bad", "good"]
    assert "1 of 2 bundles are bad: bad" in done.stderr
    result = json.loads(run("verify", tiny_bundle, "--json").stdout)
    assert (result["ok"], result["kind"], result["digest"]) == (True, "full", open_bundle(tiny_bundle).digest)


@pytest.mark.parametrize("words", [["list"], ["info", "base"]])
def test_looking_at_bundles_loads_no_torch(words):
    code = f"import sys\nsys.argv = ['gesturegen', 'models', *{words!r}]\nfrom gesturegen_cli.cli.app import main\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gesturegen_cli", "models", "info", "base"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_that_mean_nothing_here_are_refused(run):
    done = run("list", "--steps", "3")
    assert done.exit_code == 2
    assert run("info", "base", "--preset", "tiny").exit_code == 2


def test_the_settings_of_the_tests_are_those_of_the_model(model):
    assert set(TINY) <= {field.name for field in dataclasses.fields(model.config)}
