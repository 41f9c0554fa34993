import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.evaluation import report_media
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.report_html import MAX_EXHIBITS, flat_rows, save_html, system_colours
from gesturegen_cli.evaluation.report_media import compose_exhibit, hand_pictures
from gesturegen_cli.evaluation.results import Curves, Exhibit, Report, Score, Section, System
from gesturegen_cli.media.framing import CropBox
from gesturegen_cli.media.video import iter_frames, probe_video, read_mark, write_video

HOSTILE = "</style><script>alert('x')</script>&\"\x1b"
VOID = {"meta", "img", "br", "input", "link"}


def make_curves(frames: int = 26) -> Curves:
    hands = np.zeros((frames, 2, 3), np.float32)
    hands[:] = [[0.5, 0.25, 0.125], [-0.5, 0.25, 0.125]]
    return Curves(
        speed=np.linspace(0.5, 1, frames - 1).astype(np.float32),
        rests=np.array([5.0, 20.0]),
        onsets=np.array([4.0, 18.0]),
        loudness=np.ones(100, np.float32),
        flicker=np.ones(frames - 1, np.float32),
        seams=(12,),
        hands=hands,
    )


def make_report() -> Report:
    reference = System("reference", "reference", {"bas": Score(0.5, 0.4, 0.6, 2)})
    failed = [{"id": HOSTILE, "message": f"bad {HOSTILE}", "hint": "look"}]
    clips = [{"id": "a", "reference": "a", "frames": 26}]
    ours = System(
        HOSTILE,
        "system",
        {"psnr": Score(21.0, 20.0, 22.0, 2), "fvd": Score(None, reason=f"no network {HOSTILE}"), "bas": Score(0.4)},
        clips,
        [f"lost {HOSTILE}"],
        failed,
    )
    theirs = System("theirs", "system", {"psnr": Score(19.0, 18.5, 19.5, 2), "bas": Score(0.48)}, clips)
    section = Section("videos", [reference, ours, theirs], [f"unused {HOSTILE}"])
    protocol = {"fps": 25, "fvd": {"frames": 16, "name": HOSTILE}, "list": [1, 2]}
    notes = {"psnr": f"note {HOSTILE}", HOSTILE: HOSTILE}
    return Report([section], protocol, HOSTILE, {"os": HOSTILE}, notes, [f"careful {HOSTILE}"])


@pytest.fixture(scope="module")
def exhibit(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Exhibit:
    folder = tmp_path_factory.mktemp("videos")
    videos = {
        "reference": make_video(folder / "r.mp4", 1.04, sound=False),
        HOSTILE: make_video(folder / "o.mp4", 1.04, shade=20),
        "theirs": make_video(folder / "t.mp4", 0.6, shade=40),
    }
    return Exhibit("videos", HOSTILE, f"best of {HOSTILE}", videos, {name: make_curves() for name in videos})


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory, exhibit: Exhibit) -> Path:
    """A page with two exhibits. Tests must not change it."""
    folder = tmp_path_factory.mktemp("page")
    return save_html(folder, make_report(), [exhibit, replace(exhibit, id="two")], fps=25, size=64)


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def decoded(uri: str | None) -> bytes:
    return base64.b64decode((uri or "").partition(",")[2], validate=True)


def test_page_is_well_formed_escapes_everything_and_loads_nothing(page_path: Path) -> None:
    text = page_path.read_text()
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "form"})
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,", "data:video/mp4;base64,"))
    assert "url(" not in text
    assert re.search(r"https?:", text) is None
    assert "\x1b" not in text
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert (policy or "").startswith("default-src 'none'")
    anchors = {attributes["href"] for attributes in page.all("a")}
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert anchors <= ids


def test_page_shows_all_that_was_found(page_path: Path) -> None:
    page = Page(page_path.read_text())
    words = " ".join(page.words)
    shown = HOSTILE.replace("\x1b", "?")
    for part in ("bad", "lost", "unused", "no network", "note", "careful", "best of"):
        assert f"{part} {shown}" in words
    for part in ("AI-generated", "fvd.frames", "[1, 2]", "21.00", "Motion against speech", "Flicker over time"):
        assert part in words
    best = [a for a in page.all("td") if "best" in (a.get("class") or "") and "v" in (a.get("class") or "").split()]
    assert len(best) == 2  # PSNR and BAS; FVD has none


def test_every_exhibit_has_a_marked_video_with_sound_and_hands(tmp_path: Path, page_path: Path) -> None:
    page = Page(page_path.read_text())
    videos = page.all("video")
    assert len(videos) == 2
    (tmp_path / "x.mp4").write_bytes(decoded(videos[0]["src"]))
    info = probe_video(tmp_path / "x.mp4")
    assert (info.width, info.height) == (3 * 64 + 2 * 6, 64 + 26)
    assert info.has_audio  # the reference has none, the second column has
    assert info.seconds == pytest.approx(1.04, abs=0.05)
    assert (read_mark(tmp_path / "x.mp4") or "").startswith("AI-generated")
    assert len(page.all("img")) == 2 * 3 * 6


def test_columns_stand_beside_each_other_and_a_short_one_is_dimmed(tmp_path: Path, exhibit: Exhibit) -> None:
    pictures = compose_exhibit(exhibit, fps=25, size=64)
    (tmp_path / "x.mp4").write_bytes(pictures.video or b"")
    frames = list(iter_frames(tmp_path / "x.mp4", fps=25))
    for index, path in enumerate(exhibit.videos.values()):
        own = list(iter_frames(path, fps=25, size=64))
        left = index * 70
        difference = np.abs(frames[5][26:, left : left + 64].astype(int) - own[5])
        assert difference.mean() < 8
    last = frames[-1][26:, 140:204].astype(float)
    assert last.mean() == pytest.approx(frames[10][26:, 140:204].mean() / 2, rel=0.1)
    assert frames[0][:26, :64].max() > 150  # the burnt-in name


def test_columns_that_cannot_be_read_become_notes(tmp_path: Path, exhibit: Exhibit) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    broken = {"reference": tmp_path / "none.mp4", "theirs": tmp_path / "bad.mp4"}
    partly = replace(exhibit, videos=broken | {HOSTILE: exhibit.videos[HOSTILE]})
    wholly = replace(exhibit, id="two", videos=broken)
    page = Page(save_html(tmp_path, make_report(), [partly, wholly], fps=25, size=64).read_text())
    assert len(page.all("video")) == 1
    words = " ".join(page.words)
    assert words.count("'none.mp4' does not exist") == 2
    assert "there is no video to show" in words
    (tmp_path / "x.mp4").write_bytes(decoded(page.all("video")[0]["src"]))
    assert probe_video(tmp_path / "x.mp4").has_audio


def test_videos_stay_below_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(50))
    write_video(tmp_path / "n.mp4", noise, fps=25, size=(64, 64), frame_count=50)
    exhibit = Exhibit("videos", "n", "", {"n": tmp_path / "n.mp4"}, {})
    whole = compose_exhibit(exhibit, fps=25, size=64)
    assert whole.seconds == 2
    assert whole.size == (64, 90)
    monkeypatch.setattr(report_media, "MAX_BYTES", len(whole.video or b"") - 1)
    smaller = compose_exhibit(exhibit, fps=25, size=64)
    assert 0 < len(smaller.video or b"") < len(whole.video or b"")
    assert smaller.size[0] < 64
    monkeypatch.setattr(report_media, "MAX_BYTES", 10)
    none = compose_exhibit(exhibit, fps=25, size=64)
    assert none.video is None
    assert "left out" in none.problems[-1]


def test_hands_are_cut_from_their_boxes(tmp_path: Path) -> None:
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[64:96, 80:112] = (250, 30, 30)  # the left hand of the speaker, at the right
    frame[64:96, 16:48] = (30, 30, 250)
    write_video(tmp_path / "h.mp4", [frame] * 4, fps=25, size=(128, 128), frame_count=4)
    curves = make_curves(4)
    curves.hands[:] = [[0.5, 0.25, 0.25], [-0.5, 0.25, 0.25]]
    curves.hands[3] = np.nan
    crop = CropBox(0, 0, 128)
    pictures = hand_pictures(tmp_path / "h.mp4", crop, curves, [0, 3, 9], fps=25)
    sides = []
    for data in pictures:
        (tmp_path / "h.jpg").write_bytes(data)
        pixels = np.asarray(Image.open(tmp_path / "h.jpg")).astype(int)
        assert pixels.shape == (112, 226, 3)
        sides.append((pixels[30:80, 30:80].mean(axis=(0, 1)), pixels[30:80, 150:200].mean(axis=(0, 1))))
    assert sides[0][0][2] > 200 > 60 > sides[0][0][0]  # blue, the right hand, stands at the left
    assert sides[0][1][0] > 200 > 60 > sides[0][1][2]
    for plate in sides[1:]:  # not seen, and after the end
        assert np.ptp(plate[0]) < 30


def test_page_shows_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exhibit: Exhibit) -> None:
    monkeypatch.setattr(
        "gesturegen_cli.evaluation.report_html.exhibit_part", lambda one, *_, **__: "<article></article>"
    )
    page = Page(save_html(tmp_path, make_report(), [exhibit] * (MAX_EXHIBITS + 3), fps=25, size=64).read_text())
    assert len(page.all("article")) == MAX_EXHIBITS
    assert "3 more clips left out" in " ".join(page.words)


def test_few_clips_get_one_line_and_no_plots(tmp_path: Path) -> None:
    ours = System("ours", "system", {"psnr": Score(21.0, clips=2)}, [{"id": "a"}])
    report = replace(make_report(), sections=[Section("videos", [ours])])
    words = " ".join(Page(save_html(tmp_path, report, [], fps=25, size=64).read_text()).words)
    assert "Fewer than five clips: no intervals." in words
    for part in ("Intervals over clips", "Small:", "Bold"):
        assert part not in words


def test_a_definition_is_said_once_and_the_digest_is_short_at_the_top(tmp_path: Path) -> None:
    ours = System("ours", "system", {"l1": Score(0.1, clips=2)}, [{"id": "a"}])
    digest, notes = "0123456789abcdef" * 4, {"l1": f"{METRICS['l1'].about}: RGB in [0, 1]"}
    report = Report([Section("videos", [ours])], {}, digest, {}, notes)
    text = save_html(tmp_path, report, [], fps=25, size=64).read_text()
    page = Page(text)
    assert " ".join(page.words).count(METRICS["l1"].about) == 1
    assert "RGB in [0, 1]" in text
    header = text[: text.index("</header>")]
    assert Page(header.split("<main>")[1] + "</header>").words.count(digest[:12]) == 1
    assert [a["title"] for a in page.all("a") if a.get("href") == "#protocol" and "title" in a] == [digest]
    assert page.words.count(digest) == 1  # with the protocol


def test_hands_are_shown_at_measured_times_and_the_page_says_how_much_was_measured(
    tmp_path: Path, exhibit: Exhibit
) -> None:
    first = replace(exhibit, curves={name: make_curves(10) for name in exhibit.videos})
    report = replace(make_report(), protocol={"settings": {"frames": 10}})
    words = " ".join(Page(save_html(tmp_path, report, [first], fps=25, size=64).read_text()).words)
    assert "the first 10 frames of each video" in words
    assert "Only the first 10 frames of each video (0.4 s) were measured" in words
    assert max(compose_exhibit(first, fps=25, size=64).moments) < 0.4
    assert max(compose_exhibit(exhibit, fps=25, size=64).moments) > 0.9
    whole = " ".join(Page(save_html(tmp_path, make_report(), [], fps=25, size=64).read_text()).words)
    assert "the first" not in whole


def test_hands_are_shown_where_the_reference_has_some(exhibit: Exhibit) -> None:
    curves = {name: make_curves() for name in exhibit.videos}
    curves["reference"].hands[:20] = np.nan
    late = compose_exhibit(replace(exhibit, curves=curves), fps=25, size=64)
    assert late.moments == tuple(frame / 25 for frame in (20, 21, 22, 23, 24, 25))
    curves["reference"].hands[:] = np.nan
    none = compose_exhibit(replace(exhibit, curves=curves), fps=25, size=64)
    assert not none.hands
    assert none.problems == ("no hand is seen in what was measured of the reference",)


def test_page_cuts_videos_as_the_protocol_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exhibit: Exhibit
) -> None:
    crops: list[object] = []

    def note(*_: object, crop: str, **__: object) -> str:
        crops.append(crop)
        return ""

    monkeypatch.setattr("gesturegen_cli.evaluation.report_html.exhibit_part", note)
    middle = replace(make_report(), protocol={"settings": {"crop": "middle"}})
    for report in (make_report(), middle):
        save_html(tmp_path, report, [exhibit], fps=25, size=64)
    assert crops == ["speaker", "middle"]


def test_page_without_exhibits_sections_or_folder(tmp_path: Path) -> None:
    Page(save_html(tmp_path, make_report(), [], fps=25, size=64).read_text())
    Page(save_html(tmp_path, Report([], {}, "", {}, {}), [], fps=25, size=64).read_text())
    Page(save_html(tmp_path, Report([Section("videos", [])], {}, "", {}, {}), [], fps=25, size=64).read_text())
    with pytest.raises(EnvironmentFault):
        save_html(tmp_path / "missing", make_report(), [], fps=25, size=64)


def test_a_failure_leaves_the_older_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exhibit: Exhibit) -> None:
    path = save_html(tmp_path, make_report(), [], fps=25, size=64)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("gesturegen_cli.evaluation.report_html.exhibit_part", fail)
    with pytest.raises(KeyboardInterrupt):
        save_html(tmp_path, make_report(), [exhibit], fps=25, size=64)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*part*")) == []


def test_colours_tell_roles_and_systems_apart() -> None:
    roles = [("r", "reference"), ("f", "still"), *((f"s{k}", "system") for k in range(7))]
    colours = system_colours(Section("videos", [System(name, role, {}) for name, role in roles]))
    assert list(colours.values()) == [0, 7, 1, 2, 3, 4, 5, 6, 1]


def test_settings_become_rows() -> None:
    assert flat_rows({"a": {"b": 1, "c": {}}, "d": "x"}) == [("a.b", "1"), ("a.c", "{}"), ("d", "x")]


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


def run_browser(page: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=3000", "--window-size=1280,2400"]
    command = [browser(), *flags, *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def test_a_browser_shows_the_page_without_complaint(tmp_path: Path, page_path: Path) -> None:
    done = run_browser(page_path, tmp_path, f"--screenshot={tmp_path / 'page.png'}", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    for part in ("Motion against speech", "How it was measured", "21.00", "<video"):
        assert part in done.stdout
    assert "<script" not in done.stdout
    picture = Image.open(tmp_path / "page.png").convert("RGB")
    assert picture.size == (1280, 2400)
    assert len(picture.getcolors(1 << 24) or []) > 2000  # photographs are in it
    quarters = np.array_split(np.asarray(picture.convert("L")).astype(float), 4)
    assert all(quarter.std() > 5 for quarter in quarters)
