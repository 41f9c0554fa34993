"""What a TorchScript file may hold. The files are real ones, some with a line of their code exchanged."""

import hashlib
import zipfile

import pytest
import torch
from torch import Tensor, nn

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.torchscript import load_torchscript

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4))

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.interpolate(x, scale_factor=[1.0, 0.5, 0.5], mode="trilinear")
        return self.layers(y).mean((2, 3, 4))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("script") / "small.pt"
    torch.jit.script(Small().eval()).save(str(path))
    return path


def tampered(program, path, line="", change=lambda name, content: content):
    """A copy whose `forward` begins with `line`, and whose entries went through `change`; None leaves one out."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("code/__torch__.py") or name.endswith("test_torchscript.py"):
                head, mark, rest = content.decode().partition("-> Tensor:\n")
                content = (head + mark + (f"    {line}\n" if line else "") + rest).encode()
            content = change(name, content)
            if content is not None:
                new.writestr(name, content)
    return path


def test_a_network_is_loaded_and_does_what_it_did(program):
    loaded = load_torchscript(program, "I3D", CPU)
    clip = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.module(clip), torch.jit.load(str(program))(clip))
    assert loaded.digest == hashlib.sha256(program.read_bytes()).hexdigest()


def test_a_program_that_writes_a_file_is_refused_though_pytorch_runs_it(program, tmp_path):
    stolen = tmp_path / "stolen"
    path = tampered(program, tmp_path / "bad.pt", f'torch.save(x, "{stolen}")')
    torch.jit.load(str(path))(torch.zeros(1, 3, 4, 8, 8))
    assert stolen.exists()  # so the danger is real
    stolen.unlink()
    with pytest.raises(InputError, match=r"bad\.pt.*calls 'save'"):
        load_torchscript(path, "I3D", CPU)
    assert not stolen.exists()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('_9 = torch.from_file("/etc/hostname", False, 4)', "calls 'from_file'"),
        ('(x).save("stolen")', "calls 'save'"),
        ('getattr(x, "save")("stolen")', "calls 'save'"),
        ('getattr(x, "sa" "ve")("stolen")', "not written as torch.jit.save writes"),
        ('getattr(x, "s\\141ve")("stolen")', "not written as torch.jit.save writes"),
        ("t = torch", "gives 'torch' another name"),
        ("t = ops.quantized", "calls 'ops.quantized', expected operators of aten and prim"),
        ("t = ops", "calls 'ops', expected operators of aten and prim"),
        ("ops.profiler._record_function_enter(x, None)", "calls 'ops.profiler._record_function_enter'"),
        ("ops . inductor . resize_storage_bytes_(x, 4)", "calls 'ops.inductor.resize_storage_bytes_'"),
        ("ops.prim.PythonOp(x)", "calls 'PythonOp'"),
        ("ops.prim.rpc_async(x)", "calls 'rpc_async'"),
        ('print("here")', "calls 'print'"),
        ("x = __torch__.torch.classes.mine.Thing(x)", r"C\+\+ class"),
        ("y = 'one' # \"", "not written as torch.jit.save writes"),
        ('y = """ a', "not written as torch.jit.save writes"),
    ],
)
def test_what_a_network_does_not_need_is_refused_by_name(program, tmp_path, line, found):
    with pytest.raises(InputError, match=found) as caught:
        load_torchscript(tampered(program, tmp_path / "bad.pt", line), "I3D", CPU)
    assert caught.value.message.startswith("I3D 'bad.pt', code/__torch__")


def test_a_state_setter_is_searched_like_all_code(program, tmp_path):
    def add(name, content):
        method = b'  def __setstate__(self: __torch__.X,\n    state: int) -> NoneType:\n    torch.save(state, "f")\n'
        return content + method if name.endswith("conv.py") else content

    with pytest.raises(InputError, match=r"conv\.py calls 'save'"):
        load_torchscript(tampered(program, tmp_path / "bad.pt", change=add), "I3D", CPU)


def test_words_in_messages_of_a_program_are_not_calls(program, tmp_path):
    path = tampered(program, tmp_path / "talks.pt", '_9 = torch.format("save your ops with torch, {}", 1)')
    load_torchscript(path, "I3D", CPU)


def test_objects_of_c_classes_are_refused(program, tmp_path):
    def swap(name, content):
        return content + b"c__torch__.torch.classes.mine\nThing\n" if name.endswith("/data.pkl") else content

    with pytest.raises(InputError, match=r"object of a C\+\+ class"):
        load_torchscript(tampered(program, tmp_path / "bad.pt", change=swap), "I3D", CPU)


def test_code_beside_the_searched_entries_is_not_given_to_pytorch(program, tmp_path):
    path = tmp_path / "more.pt"
    path.write_bytes(program.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("small/extra/bytecode.pkl", b"whatever")
    load_torchscript(path, "I3D", CPU)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/code/__torch__.py", b"")
    with pytest.raises(InputError, match="entries twice"):
        load_torchscript(path, "I3D", CPU)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\x80\x02}q\x00.", "a pickle, expected a TorchScript file; it was not opened"),
        (b"\x89PNG\r\n\x1a\n....", "a PNG picture"),
        (b"\x00\x01\x02\x03", "of no known kind"),
        (b"", "is empty"),
        (b"PK\x03\x04 and then nothing", "cut off or damaged"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, content, found):
    (tmp_path / "i3d.pt").write_bytes(content)
    with pytest.raises(InputError, match=found):
        load_torchscript(tmp_path / "i3d.pt", "I3D", CPU)


def test_a_file_cut_off_is_refused_wherever_it_ends(program, tmp_path):
    data = program.read_bytes()
    for share in (0.3, 0.9, 0.99):
        (tmp_path / "part.pt").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match="cut off or damaged"):
            load_torchscript(tmp_path / "part.pt", "I3D", CPU)


def test_weights_without_a_program_and_other_archives_are_refused(program, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds weights without a program"):
        load_torchscript(tmp_path / "weights.pt", "I3D", CPU)
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a/b.txt", "hello")
    with pytest.raises(InputError, match="an archive of something else"):
        load_torchscript(tmp_path / "other.pt", "I3D", CPU)
    damaged = tampered(
        program, tmp_path / "odd.pt", change=lambda n, c: b"\x00" * len(c) if n.endswith("data.pkl") else c
    )
    with pytest.raises(InputError, match="cannot be loaded"):
        load_torchscript(damaged, "I3D", CPU)
