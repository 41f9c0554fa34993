"""Finding videos: by content, in folders and lists, hostile names included."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gesturegen_cli.data.sources import find_sources
from gesturegen_cli.errors import InputError

FILM = b"\0\0\0\x18ftypmp42" + bytes(64)


def put(path: Path, data: bytes = FILM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_folders_are_searched_without_hidden_files_linked_folders_and_the_output(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("b.mp4", "sub/a.MOV", ".hidden.mp4", ".git/x.mp4", "out/clips/c.mp4"):
        put(folder / name)
    put(tmp_path / "elsewhere" / "z.mp4")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    found = find_sources(folder, skip=folder / "out")
    assert [source.name for source in found.videos] == ["b.mp4", "sub/a.MOV"]


def test_other_files_are_judged_by_their_content(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", b"hello\n")
    put(tmp_path / "sound.wav", b"RIFF\0\0\0\0WAVEfmt " + bytes(40))
    put(tmp_path / "picture.jpg", b"\xff\xd8\xff\xe0" + bytes(40))
    put(tmp_path / "broken.dat")
    put(tmp_path / "text.mp4", b"not a video\n")
    assert [source.name for source in find_sources(tmp_path).videos] == ["text.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="named pipes are of POSIX")
def test_named_pipes_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="no video in the folder"):
        find_sources(tmp_path)


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    names = ["-i.mp4", "a b.mp4", 'it\'s "q" $(x).mp4', "%03d*.mp4"]
    for name in names:
        put(tmp_path / name)
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")))
    found = [source.name for source in find_sources(tmp_path).videos]
    assert sorted(names) == sorted(found)[: len(names)]
    assert [name for name in found if "\ufffd" in name] == ["\ufffd\ufffd.mp4"]


def test_csv_lists_give_parts_speakers_and_consent(tmp_path: Path) -> None:
    put(tmp_path / "v" / "a b.mp4")
    rows = 'Path,start,end,speaker,consent\n"v/a b.mp4",1.5,4,Ann,yes\nv/a b.mp4,,,,No\nv/none.mp4,,,,\n'
    (tmp_path / "list.csv").write_text("\ufeff" + rows)
    found = find_sources(tmp_path / "list.csv")
    assert len(found.videos) == 1
    one = found.videos[0]
    assert (one.name, one.start, one.end, one.speaker, one.consent) == ("v/a b.mp4", 1.5, 4.0, "Ann", "yes")
    assert [(item.reason, item.detail[:6]) for item in found.refused] == [
        ("no consent", "line 3"),
        ("bad row", "line 4"),
    ]


def test_json_lists_are_read_by_content(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    rows = [{"path": "a.mp4", "consent": False}, {"path": "a.mp4", "start": 2}, {"path": 3}]
    (tmp_path / "list.txt").write_text("\n".join(map(json.dumps, rows)))
    found = find_sources(tmp_path / "list.txt")
    assert [source.start for source in found.videos] == [2.0]
    assert [item.reason for item in found.refused] == ["no consent", "bad row"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,5,2", "end = 2, expected more than start = 5"),
        ("a.mp4,x,", "start = 'x', expected seconds from 0 on"),
        ("a.mp4,nan,", "start = 'nan', expected seconds"),
        ("../out.mp4,,", "lies outside the folder of the list"),
        (",,", "path = '', expected a file name"),
    ],
)
def test_bad_rows_cost_themselves_only(tmp_path: Path, row: str, message: str) -> None:
    put(tmp_path / "out.mp4")
    put(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "list.csv").write_text(f"path,start,end\na.mp4,,\n{row}\n")
    found = find_sources(tmp_path / "in" / "list.csv")
    assert len(found.videos) == 1
    assert message in found.refused[0].detail


def test_videos_outside_the_lists_folder_need_permission(tmp_path: Path) -> None:
    put(tmp_path / "out.mp4")
    put(tmp_path / "in" / "list.csv", b"path\n../out.mp4\n")
    found = find_sources(tmp_path / "in" / "list.csv", allow_outside=True)
    assert [source.name for source in found.videos] == ["../out.mp4"]


def test_what_is_no_list_and_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is text without a column 'path'"):
        find_sources(put(tmp_path / "talk.mp4", b"hello there\nsecond line\n"))
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "none.mp4")
    with pytest.raises(InputError, match=r"line 1 is not JSON"):
        find_sources(put(tmp_path / "l.jsonl", b'{"path": \n'))
