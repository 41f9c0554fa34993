import hashlib
import json
import os

import numpy as np
import pytest

from gesturegen_cli.data.video_record import MARK, digest, is_record, record_path, writing_record
from gesturegen_cli.errors import EnvironmentFault


def test_record_holds_what_the_block_put_into_it(tmp_path):
    with writing_record(tmp_path / "v.mp4", {MARK: True}) as info:
        assert not record_path(tmp_path / "v.mp4").exists()
        info["later"] = ["ü", 1]
    assert json.loads((tmp_path / "v.json").read_text()) == {MARK: True, "later": ["ü", 1]}
    assert (tmp_path / "v.json").read_bytes().endswith(b"}\n")
    assert os.listdir(tmp_path) == ["v.json"]


def test_record_may_shrink(tmp_path):
    with writing_record(tmp_path / "v.mp4", {MARK: True, "long": "x" * 9000}) as info:
        info.pop("long")
    assert json.loads((tmp_path / "v.json").read_text()) == {MARK: True}


def test_failing_block_leaves_no_record(tmp_path):
    with pytest.raises(RuntimeError), writing_record(tmp_path / "v.mp4", {MARK: True}):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_missing_folder_is_an_environment_fault(tmp_path):
    with pytest.raises(EnvironmentFault), writing_record(tmp_path / "no" / "v.mp4", {}):
        pytest.fail("the block must not run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"ai_generated": true}', True), ('{"transcript": ""}', False), ("[1]", False), ("{", False), ("", False)],
)
def test_only_records_are_taken_for_records(tmp_path, text, expected):
    (tmp_path / "v.json").write_text(text)
    assert is_record(tmp_path / "v.json") is expected
    assert is_record(tmp_path / "absent.json") is False


def test_digest_is_sha256_of_the_bytes(tmp_path):
    values = np.arange(6, dtype=np.float32)
    (tmp_path / "f").write_bytes(values.tobytes())
    assert digest(tmp_path / "f") == digest(values) == hashlib.sha256(values.tobytes()).hexdigest()
    assert digest(values[::2]) == digest(values[::2].copy())
