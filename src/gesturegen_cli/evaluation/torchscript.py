"""TorchScript programs that a user brings: read, searched for what a network need not do, and only then loaded.

A TorchScript archive carries source code (`code/*.py`, in TorchScript's own small language) that runs inside PyTorch's
interpreter. That language has no file handles and no imports, but it can call every operator that PyTorch registers,
and a few of those write files, map files, call back into Python or talk to other machines. So the code is searched word
by word, and what is given to PyTorch is an archive written anew from the very entries that were searched.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import describe_content, printable, require_file, shown

AGAIN = "fetch the file again and compare its size and hash with the origin's"
ORIGIN = "use the TorchScript file of the network's own authors; this one was not run"
NAMESPACES = ("aten", "prim")
"""Operators of arithmetic, and of the language itself. Others are of quantization, profiling, several machines..."""
FORBIDDEN = frozenset(
    (
        *("save", "load", "from_file"),
        *("PythonOp", "IgnoredPythonOp", "rpc_async", "rpc_sync", "rpc_remote", "fork", "awaitable"),
        *("Print", "_print", "print", "manual_seed", "set_grad_enabled"),
    )
)
"""Words that appear nowhere: operators that touch files, Python, other processes, the output or global state."""
MAX_BYTES = 1_000_000_000
MAX_CODE = 10_000_000

_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_WORD = re.compile(r"[A-Za-z_]\w*")
_LITERAL_ATTRIBUTE = re.compile(r'getattr\(((?:(?!getattr)[\w. ()])*), "(\w+)"\)')
"""How a child whose name is no identifier, such as `0`, is written."""
_BARE = re.compile(r"(?<![\w.])(torch|ops)\b(?!\s*\.)")
_OPERATOR = re.compile(r"(?<![\w.])ops\b(?:\s*\.\s*(\w+))?(?:\s*\.\s*(\w+))?")


@dataclass(frozen=True)
class Program:
    """A loaded TorchScript file."""

    module: torch.jit.ScriptModule
    digest: str
    """sha256 of the file."""


def load_torchscript(path: Path, what: str, device: torch.device) -> Program:
    """Read, search and load the TorchScript file of a network; `what` names its role in messages.

    Raises InputError when the file is missing or is no TorchScript archive, is cut off, or when its code calls an
    operator of a namespace other than `NAMESPACES`, or one of `FORBIDDEN`; the message names it.

    What is left to trust: the code that passes still runs, in PyTorch's interpreter. It can compute for ever, take all
    memory, and reach any fault in PyTorch's operators and in its reader of archives. Take the file from its authors.
    """
    path, head = require_file(path, what)
    name = f"{what} {shown(path)!r}"
    if not head.startswith(b"PK"):
        raise _not_an_archive(head, name)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{name} has {path.stat().st_size} bytes, at most {MAX_BYTES} are read", ORIGIN)
    data = path.read_bytes()
    entries = _read_entries(data, name)
    for entry, content in entries.items():
        if entry.endswith(".py"):
            _search(content, f"{name}, {printable(entry.partition('/')[2])}")
        elif entry.endswith(".pkl") and b"torch.classes" in content:
            raise InputError(f"{name} holds an object of a C++ class (torch.classes), expected tensors only", ORIGIN)
    try:
        module = torch.jit.load(_rewritten(entries), map_location=device)  # type: ignore[no-untyped-call] # PyTorch's
    except Exception as error:  # PyTorch's reader has no error type of its own
        reason = printable(str(error).strip().split("\n", 1)[0][:160])
        raise InputError(f"{name} cannot be loaded ({reason})", AGAIN) from error
    return Program(module.eval(), hashlib.sha256(data).hexdigest())


def _read_entries(data: bytes, name: str) -> dict[str, bytes]:
    """The entries that PyTorch needs: code, constants, tensors, version. InputError unless it is such an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if _needed(info.filename)]
            names = [info.filename for info in infos]
            _check_names(names, name)
            code = sum(info.file_size for info in infos if info.filename.endswith(".py"))
            if code > MAX_CODE or sum(info.file_size for info in infos) > MAX_BYTES:
                raise InputError(f"{name} unpacks to more than a network needs", ORIGIN)
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{name} is cut off or damaged ({printable(str(error))[:160]})", AGAIN) from error


def _needed(entry: str) -> bool:
    inside = entry.partition("/")[2]
    if inside.startswith("code/"):
        return inside.endswith(".py")
    return inside in ("data.pkl", "constants.pkl", "version", "byteorder") or inside.startswith(("data/", "constants/"))


def _check_names(names: list[str], name: str) -> None:
    if len({entry.partition("/")[0] for entry in names}) > 1 or len(set(names)) != len(names):
        raise InputError(f"{name} has entries twice, expected what torch.jit.save writes", ORIGIN)
    inside = {entry.partition("/")[2] for entry in names}
    if "data.pkl" in inside and not any(entry.startswith("code/") for entry in inside):
        raise InputError(f"{name} holds weights without a program, expected a TorchScript file", ORIGIN)
    if not {"data.pkl", "constants.pkl"} <= inside:
        raise InputError(f"{name} is an archive of something else, expected a TorchScript file", ORIGIN)


def _search(content: bytes, where: str) -> None:
    """Raise InputError for the first word of a source file that `load_torchscript` refuses."""
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not TorchScript code ({error.reason})", ORIGIN) from error
    # Operators can also be reached as attributes by name: such names count as words, other strings say nothing.
    while (shorter := _LITERAL_ATTRIBUTE.sub(r"(\1 . _\2_ . \2)", text)) != text:
        text = shorter
    plain = _STRING.sub(" ", text)
    # Nothing but plain strings may be left to hide words in: PyTorch's reader and this one could differ about the rest.
    if '"""' in text or any(sign in plain for sign in "\"'#\\") or "getattr" in plain:
        raise InputError(f"{where} is not written as torch.jit.save writes code", ORIGIN)
    bad = next((word for word in _WORD.findall(plain) if word in FORBIDDEN), None)
    if bad is not None:
        raise InputError(f"{where} calls {bad!r}, which a network that looks at video does not need", ORIGIN)
    if "torch.classes" in re.sub(r"\s", "", plain):
        raise InputError(f"{where} uses a C++ class (torch.classes), expected tensors only", ORIGIN)
    for space, operator in _OPERATOR.findall(plain):
        if space not in NAMESPACES or not operator:
            found = f"ops.{space}.{operator}".rstrip(".")
            raise InputError(f"{where} calls {found!r}, expected operators of {' and '.join(NAMESPACES)}", ORIGIN)
    if bare := _BARE.search(plain):
        raise InputError(f"{where} gives {bare[1]!r} another name, which hides the operators it calls", ORIGIN)


def _rewritten(entries: dict[str, bytes]) -> io.BytesIO:
    """A fresh archive of exactly these entries, so that no other reading of the file can differ from ours."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for entry, content in entries.items():
            out.writestr(entry, content)
    archive.seek(0)
    return archive


def _not_an_archive(head: bytes, name: str) -> InputError:
    if head.startswith(b"version https://git-lfs"):
        return InputError(f"{name} is a Git LFS pointer, not the file it stands for", "run: git lfs pull")
    if b"<html" in head[:400].lower() or head.lstrip()[:14].lower() == b"<!doctype html":
        hint = "open the link in a browser: it shows a login, a warning or a list, and the file behind it"
        return InputError(f"{name} is a web page, not the file it offers", hint)
    if head.startswith(b"\x80"):
        return InputError(f"{name} is a pickle, expected a TorchScript file; it was not opened", ORIGIN)
    what = describe_content(head) or f"of no known kind (it begins {head[:8].hex(' ')})"
    return InputError(f"{name} is {what}, expected a TorchScript file", AGAIN)
