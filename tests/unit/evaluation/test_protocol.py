"""Protocols: what they hash, what they survive, and which differences make two evaluations incomparable."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from gesturegen_cli.config.schema import Evaluation
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.protocol import (
    check_same_protocol,
    describe_protocol,
    differences,
    protocol_digest,
)
from gesturegen_cli.evaluation.report_files import load_metrics, save_metrics
from gesturegen_cli.evaluation.results import Report

SETTINGS = Evaluation()
NETWORKS = {"estimator": "e" * 64, "fgd": "g" * 64, "fvd_self": "f" * 64}


class LabelledClip(NamedTuple):
    """What a protocol reads of a clip."""

    labels: Path | None


@pytest.fixture
def item(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    return Item("a", tmp_path / "a.mp4")


def describe(*items, settings=SETTINGS, networks=NETWORKS):
    return describe_protocol(settings, 0, networks, list(items))


def report(protocol):
    return Report([], protocol, protocol_digest(protocol), {}, {})


def test_evaluations_that_took_every_hand_for_seen_are_not_comparable(item):
    ours = describe(item)
    older = {key: value for key, value in ours.items() if key != "hands_seen_from"}
    assert differences(ours, older) == ["hands_seen_from 0.6, not none"]
    assert protocol_digest(ours) != protocol_digest(older)


def test_what_cannot_be_read_is_noted_and_stops_nothing(item, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    hashes = set()
    for name in ("folder", "link", "missing"):
        protocol = describe(item, Item("b", tmp_path / f"{name}.mp4"))
        assert protocol["reference_clips"] == 2
        hashes.add(protocol["reference"])
    assert len(hashes) == 1
    (tmp_path / "missing.mp4").write_bytes(b"video")
    assert describe(item, Item("b", tmp_path / "missing.mp4"))["reference"] not in hashes
    assert describe(replace(item, audio=tmp_path / "folder.mp4"))["reference"] not in hashes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_waited_for(item, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    found = []
    thread = threading.Thread(
        target=lambda: found.append(describe(item, Item("b", tmp_path / "pipe.mp4"))), daemon=True
    )
    thread.start()
    thread.join(20)
    assert [protocol["reference_clips"] for protocol in found] == [2]


def test_a_reference_of_which_no_video_can_be_read_is_refused(tmp_path):
    (tmp_path / "talk.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"no reference video could be read: video file 'tlak\.mp4' does not") as error:
        describe(Item("tlak", tmp_path / "tlak.mp4"))
    assert error.value.hint == "did you mean 'talk.mp4'?"


def test_labels_belong_to_the_reference(item, tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"boxes")
    labelled = replace(item, clip=LabelledClip(file))
    first = describe(labelled)
    assert first != describe(item)
    assert describe(replace(item, clip=LabelledClip(None))) == describe(item)
    file.write_bytes(b"other boxes")
    assert [line.split()[0] for line in differences(describe(labelled), first)] == ["reference"]
    assert protocol_digest(describe(labelled)) != protocol_digest(first)


def test_networks_count_where_both_have_them(item):
    full = describe(item)
    quick = describe(item, settings=replace(SETTINGS, metrics="psnr"), networks={"estimator": "e" * 64})
    assert protocol_digest(quick) == protocol_digest(full)
    assert differences(quick, full) == differences(full, quick) == []
    assert check_same_protocol(quick, report(full), force=False) is None
    other = describe(item, networks={**NETWORKS, "fgd": "h" * 64})
    with pytest.raises(ConfigError, match=r"networks\.fgd hhhhhhhhhhhh\.\.\., not gggggggggggg\.\.\."):
        check_same_protocol(other, report(full), force=False)
    assert "not comparable" in check_same_protocol(other, report(full), force=True)


@pytest.mark.parametrize("networks", [{**NETWORKS, "estimator": "x" * 64}, {"fgd": "g" * 64}])
def test_the_estimator_always_counts(item, networks):
    full, other = describe(item), describe(item, networks=networks)
    assert protocol_digest(full) != protocol_digest(other)
    with pytest.raises(ConfigError, match=r"networks\.estimator"):
        check_same_protocol(full, report(other), force=False)


def test_settings_count_but_those_that_change_no_number(item):
    full = describe(item)
    for name in ("bootstrap", "fgd_steps"):
        assert check_same_protocol(describe(item, settings=replace(SETTINGS, **{name: 7})), report(full), False) is None
    with pytest.raises(ConfigError, match=r"settings\.size 128, not 256"):
        check_same_protocol(describe(item, settings=replace(SETTINGS, size=128)), report(full), force=False)


def test_a_report_whose_protocol_was_replaced_is_refused(item, tmp_path):
    full, small = describe(item), describe(item, settings=replace(SETTINGS, size=128))
    save_metrics(tmp_path, report(full))
    kept = load_metrics(tmp_path / "metrics.json")
    assert check_same_protocol(full, kept, force=False) is None
    for ours in (full, small):
        changed = replace(kept, protocol={**kept.protocol, "settings": small["settings"]})
        with pytest.raises(ConfigError, match="does not fit its digest"):
            check_same_protocol(ours, changed, force=False)
        assert "does not fit its digest" in check_same_protocol(ours, changed, force=True)


@pytest.mark.parametrize("part", [{}, {"settings": None}, {"settings": [1], "networks": "none"}])
def test_protocols_of_any_shape_are_compared(item, part):
    with pytest.raises(ConfigError, match="differs"):
        check_same_protocol(describe(item), report(part), force=False)
