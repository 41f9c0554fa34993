"""Gates: how they are written, when they fail, and comparing with a baseline."""

from __future__ import annotations

import pytest

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.evaluation.gate import Gate, changes, failed_gates, parse_gates, worse_scores
from gesturegen_cli.evaluation.results import Report, Score, Section, System


def report(name="ours", section="speech", **scores):
    given = {key: value if isinstance(value, Score) else Score(value) for key, value in scores.items()}
    reference = System("reference", "reference", {"psnr": Score(1.0), "fgd": Score(900.0)})
    return Report([Section(section, [reference, System(name, "system", given)])], {}, "", {}, {})


def test_gates_are_read():
    assert parse_gates("psnr=20, fgd<5,reconstruction.ssim>=0.9,fvd-self=3,speech.bas>-1e-1") == (
        Gate("", "psnr", ">=", 20.0),
        Gate("", "fgd", "<", 5.0),
        Gate("reconstruction", "ssim", ">=", 0.9),
        Gate("", "fvd_self", "<=", 3.0),
        Gate("speech", "bas", ">", -0.1),
    )
    assert parse_gates("") == parse_gates("worse") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("psnr", "is not a gate"),
        ("nothing=1", "unknown metric 'nothing'"),
        ("psnr=high", "'high' is not a number"),
        ("psnr=nan", "has to be finite"),
        ("other.psnr=1", "no section 'other'"),
        ("bas=0.2", "neither high nor low"),
    ],
)
def test_what_is_no_gate_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_gates(text)


def test_a_misspelt_metric_of_a_gate_is_guessed():
    with pytest.raises(ConfigError, match=r"'psnrr=20': unknown metric 'psnrr'") as caught:
        parse_gates("psnrr=20")
    assert caught.value.hint == "did you mean 'psnr'?"
    with pytest.raises(ConfigError, match="unknown metric 'zzz'") as caught:
        parse_gates("speech.zzz<2")
    assert caught.value.hint.startswith("choose from psnr, ssim")


def test_gates_hold_the_systems_and_not_the_reference():
    found = report(psnr=20.0, fgd=4.0)
    assert failed_gates(found, parse_gates("psnr=20,fgd<5,reconstruction.psnr>5")[:2]) == []
    assert failed_gates(found, parse_gates("psnr>20")) == ["psnr > 20: ours has 20 (speech)"]
    assert failed_gates(found, parse_gates("fgd=3.9")) == ["fgd <= 3.9: ours has 4 (speech)"]


def test_a_gate_that_cannot_be_checked_has_failed():
    found = report(fvd=Score(None, reason="no I3D network was given (--i3d)"))
    assert failed_gates(found, parse_gates("fvd<5")) == ["fvd < 5: not measured (no I3D network was given (--i3d))"]
    assert failed_gates(found, parse_gates("psnr=1")) == ["psnr >= 1: not measured"]
    assert failed_gates(report(psnr=30.0), parse_gates("reconstruction.psnr=1")) == [
        "reconstruction.psnr >= 1: not measured"
    ]


def sections(**systems):
    """A report of sections: name -> system -> scores by metric."""
    return Report(
        [
            Section(section, [System(name, "system", scores) for name, scores in judged.items()])
            for section, judged in systems.items()
        ],
        {},
        "",
        {},
        {},
    )


def test_each_system_has_to_be_measured_where_a_gate_asks():
    alone = Score(None, reason="no video has the name of a reference clip")
    one = sections(videos={"A": {"psnr": Score(30.0)}, "B": {"psnr": alone}, "C": {}})
    for gates, name in (("psnr=20", "psnr >= 20"), ("videos.psnr=20", "videos.psnr >= 20")):
        assert failed_gates(one, parse_gates(gates)) == [
            f"{name}: B was not measured in videos (no video has the name of a reference clip)",
            f"{name}: C was not measured in videos",
        ]


def test_a_gate_without_a_section_skips_those_that_the_metric_does_not_suit():
    both = {"reconstruction": {"A": {"seam": Score(None, reason="no record")}}, "speech": {"A": {"seam": Score(1.1)}}}
    assert failed_gates(sections(**both), parse_gates("seam<2")) == []
    assert failed_gates(sections(**both), parse_gates("reconstruction.seam<2")) == [
        "reconstruction.seam < 2: not measured (no record)"
    ]
    both["reconstruction"]["B"] = {"seam": Score(None, reason="no record")}
    assert failed_gates(sections(**both), parse_gates("seam<2")) == ["seam < 2: B was not measured anywhere"]


def test_worse_means_beyond_the_interval_and_in_the_bad_direction():
    before = report(psnr=20.0, fgd=4.0, speed=3.0)
    assert worse_scores(report(psnr=21.0, fgd=3.0, speed=9.0), before) == []
    assert worse_scores(report(psnr=19.0, fgd=5.0), before) == [
        "psnr of ours (speech): 19, was 20",
        "fgd of ours (speech): 5, was 4",
    ]
    assert worse_scores(report(psnr=Score(19.0, 18.0, 20.5), fgd=Score(5.0, 3.5, 6.0)), before) == []
    assert worse_scores(report(psnr=Score(19.0, 18.0, 19.5)), before) != []


def test_changes_are_listed_for_what_both_have():
    assert changes(report(psnr=21.0, ssim=0.5), report(psnr=20.0)) == ["speech, ours, PSNR: 20 -> 21 (+1)"]
