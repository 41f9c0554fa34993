import csv
import io
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.report_files import (
    console_table,
    load_metrics,
    save_clip_table,
    save_metrics,
    save_tables,
)
from gesturegen_cli.evaluation.report_tables import (
    about_values,
    best_systems,
    latex_text,
    markdown_text,
    number_text,
    score_table,
)
from gesturegen_cli.evaluation.results import Report, Score, Section, System

HOSTILE = "a&b<script>_%|\"'"


def scores(psnr: float, lpips: float | None, bas: float) -> dict[str, Score]:
    learned = Score(lpips, None, None, 2) if lpips is not None else Score(None, reason="LPIPS has no weights here")
    return {"psnr": Score(psnr, psnr - 1, psnr + 1.5, 2), "lpips": learned, "bas": Score(bas, clips=2)}


def make_report() -> Report:
    reference = System("reference", "reference", {"bas": Score(0.5, 0.4, 0.6, 2)})
    still = System("still", "still", scores(30.0, 0.001, 0.5) | {"psnr": Score(99.0, clips=1)})
    clips = [
        {"id": "=cmd()", "reference": "r1", "frames": 75, "psnr": -3.5, "own": 1.5},
        {"id": "b, c", "reference": None, "frames": 50, "psnr": None},
    ]
    failed = [{"id": "x", "message": "not a video", "hint": "name a video"}]
    ours = System("ours", "system", scores(21.0, None, 0.8), clips, ["lost"], failed)
    other = System(HOSTILE, "system", scores(20.0, None, 0.45))
    section = Section("videos", [reference, still, ours, other], ["unused-1"])
    return Report([section], {"fps": 25, "size": [256, 256]}, "ab12", {"python": "3"}, {"psnr": "on RGB"}, ["careful"])


def test_metrics_json_comes_back_as_it_was(tmp_path: Path) -> None:
    report = make_report()
    path = save_metrics(tmp_path, report)
    text = json.loads(path.read_text())
    assert (text["format"], text["kind"]) == (2, "gesturegen-evaluation")
    assert load_metrics(path) == report


def test_metrics_json_has_no_nan_and_takes_numpy_and_undecodable_names(tmp_path: Path) -> None:
    report = make_report()
    clip = {"id": "caf\udce9", "reference": None, "psnr": np.float32(math.nan), "frames": np.int64(3), "ssim": math.inf}
    system = System("s", "system", {"psnr": Score(math.nan, clips=1)}, [clip])
    path = save_metrics(tmp_path, replace(report, sections=[Section("videos", [system])]))
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    loaded = load_metrics(path).sections[0].systems[0]
    assert loaded.clips == [{"id": "caf\udce9", "reference": None, "psnr": None, "frames": 3, "ssim": None}]
    assert loaded.scores["psnr"].value is None


def test_metrics_json_is_complete_or_not_there(tmp_path: Path) -> None:
    path = save_metrics(tmp_path, make_report())
    before = path.read_bytes()

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        save_metrics(tmp_path, replace(make_report(), protocol={"a": Broken()}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def changed(path: list[str | int], value: object) -> str:
    values = {"format": 2, "kind": "gesturegen-evaluation", **asdict(make_report())}
    place: object = values
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    return json.dumps(values)


SYSTEM = ["sections", 0, "systems", 2]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("[]", "expected an object"),
        ("{" * 100_000, "not JSON"),
        ('{"kind": 1, "kind": 2}', "twice"),
        ('{"kind": NaN}', "no number"),
        ('{"format": 2, "kind": "gesturegen-evaluation", "a": ' + "[" * 60 + "]" * 60 + "}", "nested"),
        (changed(["kind"], "other"), "kind"),
        (changed(["kind"], {"x\x1b[2J": 1}), "kind"),
        (changed(["format"], 1), "format"),
        (changed(["format"], True), "format"),
        (changed(["sections"], {}), "sections"),
        (changed(["sections", 0, "systems"], [1]), "object"),
        (changed([*SYSTEM, "role"], "boss"), "boss"),
        (changed([*SYSTEM, "scores", "psnr", "value"], "12"), "value"),
        (changed([*SYSTEM, "scores", "psnr", "value"], True), "value"),
        (changed([*SYSTEM, "scores", "psnr", "value"], 10**1000), "number"),
        (changed([*SYSTEM, "scores", "psnr", "value"], 123456).replace("123456", "1e999"), "number"),
        (changed([*SYSTEM, "scores", "psnr", "clips"], -1), "clips"),
        (changed([*SYSTEM, "clips", 0, "id"], None), "id"),
        (changed([*SYSTEM, "clips", 0, "psnr"], []), "psnr"),
        (changed([*SYSTEM, "unmatched"], [None]), "text"),
        (changed([*SYSTEM, "failed"], [{"id": 3}]), "id"),
        (changed(["warnings"], "x"), "warnings"),
        (changed(["notes"], {"psnr": 1}), "text"),
    ],
)
def test_metrics_json_of_others_is_refused(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(InputError, match=part) as caught:
        load_metrics(path)
    assert "\x1b" not in caught.value.message
    assert "preprocess" not in caught.value.hint


def test_metrics_json_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_metrics(tmp_path, make_report())
    monkeypatch.setattr("gesturegen_cli.evaluation.report_files.MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match="more than"):
        load_metrics(path)
    with pytest.raises(InputError, match="does not exist"):
        load_metrics(tmp_path / "none.json")


def test_clip_table_has_a_row_per_clip_and_no_formulas(tmp_path: Path) -> None:
    rows = list(csv.DictReader(save_clip_table(tmp_path, make_report()).open(newline="")))
    assert list(rows[0]) == ["section", "system", "role", "clip", "reference", "frames", *METRICS, "own"]
    assert rows[0]["clip"] == "'=cmd()"
    assert rows[0]["psnr"] == "-3.5"
    assert rows[0]["frames"] == "75"
    assert rows[1]["clip"] == "b, c"
    assert rows[1]["psnr"] == ""
    assert rows[1]["reference"] == ""


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@a", " =1", "\t=1", "＝1", "\r=1"])
def test_clip_table_guards_every_sign_that_begins_a_formula(tmp_path: Path, name: str) -> None:
    system = System(name, "system", {}, [{"id": name, "reference": name}])
    report = replace(make_report(), sections=[Section("videos", [system])])
    row = next(csv.DictReader(save_clip_table(tmp_path, report).open(newline="")))
    assert all(row[key][0] == "'" or row[key][0] == "?" for key in ("system", "clip", "reference"))


def test_best_follows_the_direction_and_only_systems_compete() -> None:
    systems = make_report().sections[0].systems
    assert best_systems(METRICS["psnr"], systems) == {"ours"}  # not the still baseline, which has 99
    assert best_systems(METRICS["bas"], systems) == {HOSTILE}  # 0.45 is nearer to 0.5 than 0.8
    assert best_systems(METRICS["lpips"], systems) == frozenset()
    assert best_systems(METRICS["bas"], systems[1:]) == frozenset()  # no reference to be near to
    assert best_systems(METRICS["psnr"], systems[:3]) == frozenset()  # one system is not the best of anything
    low = [System(name, "system", {"l1": Score(value)}) for name, value in (("a", 0.20001), ("b", 0.3), ("c", 0.2))]
    assert best_systems(METRICS["l1"], low) == {"a", "c"}  # they read the same


def test_systems_measured_on_fewer_pairs_are_not_best_and_a_note_says_so() -> None:
    counts = {"few": (30.0, 1), "ours": (20.0, 20), "theirs": (21.0, 20)}
    systems = [
        System(name, "system", {"psnr": Score(psnr, clips=n), "speed": Score(1.0 / n, clips=n)})
        for name, (psnr, n) in counts.items()
    ]
    systems.append(System("reference", "reference", {"speed": Score(1.0, clips=20)}))
    assert best_systems(METRICS["psnr"], systems) == {"theirs"}
    assert best_systems(METRICS["psnr"], systems[:2]) == frozenset()  # nobody is left to compare with
    assert best_systems(METRICS["speed"], systems) == {"few"}  # needs no pairs
    table = score_table(Section("videos", systems))
    notes = [[table.notes[cell.note - 1] if cell.note else "" for cell in row.cells[:3]] for row in table.rows]
    assert notes == [["clips measured: 1, of another system 20", "", ""], ["", "", ""]]


def test_rows_keep_the_order_of_metrics_and_say_why_a_number_is_missing() -> None:
    table = score_table(make_report().sections[0])
    assert [row.metric.key for row in table.rows] == ["psnr", "lpips", "bas"]
    lpips = table.rows[1].cells
    assert [cell.value for cell in lpips] == ["-", "0.00100", "-", "-"]
    assert table.notes[lpips[2].note - 1] == "LPIPS has no weights here"
    assert lpips[2].note == lpips[3].note
    psnr = table.rows[0].cells
    assert table.notes[psnr[1].note - 1] == "measured on 1 of 2 clips"
    assert (psnr[2].value, psnr[2].interval, psnr[2].half, psnr[2].best) == ("21.00", "20.00 to 22.50", "1.25", True)


def few_clips(*psnr: float, clips: int = 3) -> Section:
    """A section without intervals, a system for each PSNR."""
    scores = [{"psnr": Score(value, clips=clips)} for value in psnr]
    return Section("videos", [System(f"s{k}", "system", score) for k, score in enumerate(scores)])


def test_legends_speak_of_intervals_and_of_bold_numbers_only_where_there_are_some(tmp_path: Path) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    alone = replace(make_report(), sections=[few_clips(20.0)])
    markdown, latex = (path.read_text() for path in save_tables(tmp_path, alone))
    console.print(console_table(alone))
    for text in (markdown, latex, " ".join(console.export_text().split())):
        assert "ewer than five clips: no intervals" in text
        assert "95" not in text
        assert "±" not in text
        assert "Bold" not in text
    assert about_values(score_table(few_clips(20.0, 21.0))) == (
        "Fewer than five clips: no intervals. Bold: the best system of a row."
    )
    assert about_values(score_table(few_clips(20.0, clips=9))) == "No intervals were asked for."
    whole = about_values(score_table(make_report().sections[0]), "Small")
    assert whole.startswith("Small: the 95 % interval over clips. Bold: the best system of a row; where intervals")


def test_metrics_of_a_later_version_keep_a_row() -> None:
    system = System("a", "system", {"new_one": Score(1.0), "psnr": Score(2.0)})
    table = score_table(Section("videos", [system]))
    assert [row.metric.key for row in table.rows] == ["psnr", "new_one"]


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(21.3456, 2, "21.35"), (0.0, 3, "0.000"), (1e-9, 4, "1.00e-09"), (123456789.0, 0, "1.23e+08"), (-0.5, 1, "-0.5")],
)
def test_numbers_never_read_as_zero(value: float, decimals: int, text: str) -> None:
    assert number_text(value, decimals) == text


def test_markdown_table(tmp_path: Path) -> None:
    lines = save_tables(tmp_path, make_report())[0].read_text().splitlines()
    rows = {line.split(" |")[0]: line for line in lines if line.startswith("| ")}
    assert "**21.00** [20.00 to 22.50]" in rows["| PSNR, dB ↑"]
    assert "**20.00**" not in rows["| PSNR, dB ↑"]
    assert "**0.450**" in rows["| BAS ≈"]
    assert "**0.800**" not in rows["| BAS ≈"]
    assert rows["| LPIPS ↓"].count(" - <sup>") == 2
    assert any(line.startswith("<sup>") and "LPIPS has no weights here" in line for line in lines)
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1  # every row has as many cells
    assert "<script" not in "\n".join(lines)
    assert "a&amp;b&lt;script&gt;\\_%\\|" in "\n".join(lines)
    assert markdown_text("[x](y) `z`\n# h") == r"\[x\]\(y\) \`z\`?\# h"


def test_latex_table(tmp_path: Path) -> None:
    text = save_tables(tmp_path, make_report())[1].read_text()
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    assert r"\textbf{21.00}" in text
    assert r"a\&b\textless{}script\textgreater{}\_\%\textbar{}" in text
    assert "PSNR, dB $\\uparrow$ &" in text
    assert r"BAS $\approx$" in text
    rows = [line.replace(r"\&", "") for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {4}
    assert text.count("{") == text.count("}")
    assert latex_text("\\~^#$") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$"


def test_console_table_shows_all_and_takes_names_literally() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    system = System("[red]x[/]", "system", {"psnr": Score(20.0, 19.0, 21.0, 3), "fvd": Score(None, reason="no net")})
    console.print(console_table(replace(make_report(), sections=[Section("videos", [system])])))
    text = console.export_text()
    assert "[red]x[/]" in text
    assert "20.00 ±1.00" in text
    assert "no net" in text
    assert "careful" not in text  # the command says warnings itself
