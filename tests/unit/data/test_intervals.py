"""Interval lists of PATS and S2G-MDDiffusion: which file and part each row means, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gesturegen_cli.data.intervals import IntervalList, find_intervals, parse_time, video_id
from gesturegen_cli.data.sources import Sources
from gesturegen_cli.errors import InputError

FILM = b"\0\0\0\x18ftypmp42" + bytes(64)
HEADER = "dataset,speaker,interval_id,video_link,start_time,end_time\n"
LINK = "https://www.youtube.com/watch?v="
ONE, TWO = "aaaaaaaaaa1", "b-bbb_bbbb2"


def find(tmp_path: Path, files: list[str], rows: list[str], chosen: object = None, header: str = HEADER) -> Sources:
    """What is found in a folder with `files` by a table with `rows`, each `speaker,id,video,start,end`."""
    for name in files:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILM)
    (tmp_path / "videos").mkdir(exist_ok=True)
    (tmp_path / "table.csv").write_text(header + "".join(f"train,{row}\n" for row in rows))
    if chosen is not None:
        (tmp_path / "filter.json").write_text(chosen if isinstance(chosen, str) else json.dumps(chosen))
    lists = IntervalList(tmp_path / "table.csv", None if chosen is None else tmp_path / "filter.json")
    return find_intervals(tmp_path / "videos", lists, 15.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("83.5", 83.5),
        ("0", 0.0),
        ("0:01:23.5", 83.5),
        ("00:01:23", 83.0),
        ("1:23", 83.0),
        (" 12:00:00.25 ", 43200.25),
        ("0 days 00:01:23.500000000", 83.5),
        ("2018-12-04 00:01:23.5", 83.5),
    ],
)
def test_times_are_read_in_several_forms(text: str, seconds: float) -> None:
    assert parse_time(text, "start_time") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [None, "", "nan", "-1", "1e3", "0:61:00", "1:2:3:4", "1:60", "1 days 0:00:01", "soon", "9" * 400]
)
def test_nonsense_is_no_time(text: str | None) -> None:
    with pytest.raises(InputError, match=r"end_time = .*, expected seconds or H:MM:SS"):
        parse_time(text, "end_time")


@pytest.mark.parametrize(
    ("link", "name"),
    [
        (f"{LINK}{ONE}&t=30s", ONE),
        (f"youtu.be/{ONE}?t=3", ONE),
        (f"https://www.youtube.com/embed/{TWO}/", TWO),
        ("https://example.org/talks/law-07.mp4", "law-07"),
        (TWO, TWO),
    ],
)
def test_the_id_is_taken_from_a_link(link: str, name: str) -> None:
    assert video_id(link) == name


@pytest.mark.parametrize("link", ["", "https://example.org/", f"{LINK}../../etc", "https://[x/", f"{LINK}a%00b"])
def test_links_without_an_id_are_refused(link: str) -> None:
    with pytest.raises(InputError, match="video_link = "):
        video_id(link)


def test_videos_are_found_by_the_id_in_their_names(tmp_path: Path) -> None:
    files = [f"Late talk, part 2 [{ONE}].mp4", f"sub/Title-{TWO}.mkv", "other.mp4"]
    rows = [f"seth,7,{LINK}{ONE},0:00:10,0:00:40.5", f"ellen,8,https://youtu.be/{TWO},3,5"]
    found = find(tmp_path, files, rows)
    assert [(one.name, one.start, one.end, one.speaker) for one in found.videos] == [
        (files[0], 10.0, 40.5, "seth"),
        (files[1], 3.0, 5.0, "ellen"),
    ]
    assert [(one.label, one.group, one.split) for one in found.videos] == [("seth#7", ONE, ""), ("ellen#8", TWO, "")]
    assert found.videos[0].title == f"seth#7 ({files[0]})"
    assert found.refused == ()


def test_the_name_that_fits_best_is_taken(tmp_path: Path) -> None:
    files = [f"Talk [{ONE}].f137.mp4", f"Talk [{ONE}].mp4", f"about {ONE} and more.mp4"]
    assert find(tmp_path, files, [f"seth,7,{LINK}{ONE},0,5"]).videos[0].name == files[1]
    assert find(tmp_path, [f"{ONE}.mp4"], [f"seth,7,{LINK}{ONE},0,5"]).videos[0].name == f"{ONE}.mp4"


def test_clips_that_are_cut_already_are_taken_whole(tmp_path: Path) -> None:
    files = ["chemistry#71087.mp4", "jon/14477.mp4", "seth#9.mp4", f"{ONE}.mp4"]
    rows = [f"{name},{LINK}{ONE},60,70" for name in ("chem,71087", "jon,14477", "seth,9", "seth,10")]
    found = find(tmp_path, files, rows)
    assert [(one.name, one.start, one.end) for one in found.videos] == [
        *((name, 0.0, None) for name in files[:3]),
        (files[3], 60.0, 70.0),
    ]
    assert [one.speaker for one in found.videos] == ["chemistry", "jon", "seth", "seth"]
    assert {one.group for one in found.videos} == {ONE}


def test_only_the_published_speakers_have_a_fixed_square(tmp_path: Path) -> None:
    speakers = ["seth", "oliver", "chemistry", "chem", "jon", "ellen"]
    rows = [f"{name},{number},{LINK}{ONE},{number},9" for number, name in enumerate(speakers)]
    found = find(tmp_path, [f"{ONE}.mp4"], rows)
    assert [one.square for one in found.videos] == [0.395, 0.38, 0.031, 0.031, 1.0, None]


def test_a_filter_chooses_intervals_gives_splits_and_cuts_long_ones_off(tmp_path: Path) -> None:
    rows = [f"seth,{name},{LINK}{ONE},{name},{int(name) + 40}" for name in (1, 2, 3, 4)]
    chosen = {"train": [1, "3"], "test": ["seth#4", 99]}
    found = find(tmp_path, [f"{ONE}.mp4", "seth#3.mp4"], rows, chosen)
    assert [(one.label, one.split, one.start, one.end) for one in found.videos] == [
        ("seth#1", "train", 1.0, 16.0),
        ("seth#3", "train", 0.0, 15.0),
        ("seth#4", "test", 4.0, 19.0),
    ]
    assert [(item.source, item.reason) for item in found.refused] == [("interval 99", "not in the table")]


def test_missing_videos_are_one_record_each(tmp_path: Path) -> None:
    rows = [f"seth,{number},{LINK}{TWO},{number},9" for number in range(5)] + [f"seth,9,{LINK}{ONE},1,2"]
    found = find(tmp_path, [f"{ONE}.mp4", f"x/{ONE}.webm", "seth#3.mp4"], rows)
    assert [one.label for one in found.videos] == ["seth#3"]
    details = [(item.source, item.reason, item.detail) for item in found.refused]
    assert details == [
        (LINK + TWO, "video missing", f"no file name holds '{TWO}' (seth#0, seth#1, seth#2 and 1 more)"),
        (
            LINK + ONE,
            "ambiguous video",
            f"more than one file is called after '{ONE}': '{ONE}.mp4', 'x/{ONE}.webm' (seth#9)",
        ),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"seth,1,{LINK}{ONE},8,9", "line 3: interval_id = '1' stands in line 2 already"),
        (f"seth,2,{LINK}{ONE},9,8", "line 3: end_time = 8 s, expected more than start_time = 9 s"),
        (f"seth,2,{LINK}{ONE},9,9", "expected more than start_time"),
        (f"seth,2,{LINK}{ONE},x,9", "start_time = 'x', expected seconds or H:MM:SS"),
        (f"seth,2,{LINK}{ONE}", "start_time = None, expected seconds"),
        (f"seth,2,{LINK}{ONE},1,2,3", "more fields than the first line"),
        (f"../seth,2,{LINK}{ONE},1,2", "speaker = '../seth', expected 1 to 29 of the signs"),
        (f"seth,,{LINK}{ONE},1,2", "interval_id = '', expected 1 to 29"),
        (f"seth,a/b,{LINK}{ONE},1,2", "interval_id = 'a/b', expected"),
        ("seth,2,https://example.org/,1,2", "video_link = 'https://example.org/', expected a link"),
    ],
)
def test_bad_rows_cost_themselves_only(tmp_path: Path, row: str, message: str) -> None:
    found = find(tmp_path, [f"{ONE}.mp4"], [f"seth,1,{LINK}{ONE},1,5", row])
    assert [one.label for one in found.videos] == ["seth#1"]
    assert found.refused[0].reason == "bad row"
    assert message in found.refused[0].detail


def test_bad_rows_outside_the_filter_do_not_count(tmp_path: Path) -> None:
    rows = [f"seth,1,{LINK}{ONE},1,5", f"seth,2,{LINK}{ONE},9,8", "?,3,?,?,?"]
    assert find(tmp_path, [f"{ONE}.mp4"], rows, {"train": [1]}).refused == ()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("train: [1]", "is not JSON"),
        ("[1]", "holds list, expected an object"),
        ({"dev": [1]}, "holds 'dev': list, expected lists named train, val, test"),
        ({"train": "1"}, "holds 'train': str, expected lists"),
        ({"train": [1.5]}, "holds 1.5, expected interval ids"),
        ({"train": [True]}, "holds True, expected"),
        ({"train": ["../1"]}, "holds '../1', expected"),
        ({"train": [1], "test": ["1"]}, "1 stands in train and in test"),
        ({"train": []}, "chooses no interval"),
        ({"train": [5]}, "has no usable row, first 'interval 5': the filter names it"),
        ('{"train": [1], "train": [1]}', "a key stands twice"),
        ("\0\1", "is not text"),
    ],
)
def test_bad_filters_are_refused(tmp_path: Path, chosen: object, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")) as caught:
        find(tmp_path, [f"{ONE}.mp4"], [f"seth,1,{LINK}{ONE},1,5"], chosen)
    assert "filter is JSON" in caught.value.hint or "table is CSV" in caught.value.hint


def test_what_is_no_interval_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text without the columns 'start_time', 'end_time'") as caught:
        find(tmp_path, [], [], header="x,speaker,interval_id,video_link\n")
    assert "speaker, interval_id, video_link, start_time, end_time" in caught.value.hint
    with pytest.raises(InputError, match="has the column 'speaker' twice"):
        find(tmp_path, [], [], header=HEADER.replace("dataset", "Speaker"))
    with pytest.raises(InputError, match="has no usable row"):
        find(tmp_path, [], [])
    with pytest.raises(InputError, match="line 2 is not CSV"):
        find(tmp_path, [], ['seth,1,"x" y,1,2'])
    (tmp_path / "table.csv").write_bytes(b"PK\3\4" + bytes(40))
    with pytest.raises(InputError, match=r"interval table 'table\.csv' is not text"):
        find_intervals(tmp_path / "videos", IntervalList(tmp_path / "table.csv"), 15.0)
    with pytest.raises(InputError, match=r"interval table file 'none\.csv' does not exist"):
        find_intervals(tmp_path / "videos", IntervalList(tmp_path / "none.csv"), 15.0)


def test_without_any_of_the_videos_nothing_starts(tmp_path: Path) -> None:
    rows = [f"seth,1,{LINK}{ONE},1,5"]
    with pytest.raises(InputError, match=r"none of the 1 videos of 'table\.csv' can be used.*no file name holds"):
        find(tmp_path, ["other.mp4"], rows)
    with pytest.raises(InputError, match=r"'other\.mp4' is not a folder"):
        find_intervals(tmp_path / "videos" / "other.mp4", IntervalList(tmp_path / "table.csv"), 15.0)


def test_videos_outside_the_folder_are_not_reached(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(FILM)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{ONE}.mp4").write_bytes(FILM)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "elsewhere")
    rows = [f"seth,1,{LINK}{ONE},1,5", "seth,2,../secret.mp4,1,5", "seth,3,/etc/passwd,1,5"]
    with pytest.raises(InputError, match="none of the 3 videos"):
        find(tmp_path, [], rows)
