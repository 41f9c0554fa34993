"""The gate `worse`: what counts as worse than a baseline, and that what cannot be compared does not pass."""

from __future__ import annotations

from gesturegen_cli.evaluation.gate import changes, worse_scores
from gesturegen_cli.evaluation.results import Report, Score, Section, System


def report(protocol=None, section="videos", **systems):
    """A report of one section: system -> scores by metric."""
    judged = [
        System(name, "system", {k: v if isinstance(v, Score) else Score(v) for k, v in scores.items()})
        for name, scores in systems.items()
    ]
    real = System("reference", "reference", {"psnr": Score(100.0)})
    return Report([Section(section, [real, *judged])], protocol or {}, "", {}, {})


def test_one_system_is_compared_with_one_whatever_their_names():
    before, now = report(monday={"psnr": 30.0}), report(tuesday={"psnr": 20.0})
    assert worse_scores(now, before) == ["psnr of tuesday (videos): 20, was 30 (monday in the baseline)"]
    assert changes(now, before) == ["videos, tuesday (monday in the baseline), PSNR: 30 -> 20 (-10)"]
    assert worse_scores(before, now) == []


def test_a_system_that_the_baseline_does_not_have_fails():
    before = report(a={"psnr": 30.0}, b={"psnr": 30.0})
    nothing = "c, d: nothing to compare with in the baseline, which has a, b"
    assert worse_scores(report(c={"psnr": 40.0}, d={"psnr": 40.0}), before) == [nothing]
    assert changes(report(c={"psnr": 40.0}, d={"psnr": 40.0}), before) == [nothing]
    assert worse_scores(report(a={"psnr": 40.0}, c={"psnr": 40.0}), before) == [
        "c: nothing to compare with in the baseline, which has a, b"
    ]
    assert worse_scores(report(a={"psnr": 40.0}), before) == []  # fewer systems than before are no loss
    assert worse_scores(report(a={"psnr": 40.0}), report()) == [
        "a: nothing to compare with in the baseline, which has no system"
    ]


def test_what_the_baseline_has_and_is_not_measured_now_fails():
    before = report(a={"psnr": 30.0, "fgd": 5.0, "flicker": 1.0, "lpips": Score(None), "speed": 2.0, "beauty": 1.0})
    gone = Score(None, reason="no background is seen in any clip")
    assert worse_scores(report(a={"psnr": 30.0, "flicker": gone, "lpips": 0.2}), before) == [
        "fgd, flicker, beauty of a (videos): not measured, but in the baseline (no background is seen in any clip)"
    ]
    assert worse_scores(report(a={"psnr": 30.0}, section="speech"), report(a={"psnr": 20.0})) == [
        "psnr of a (videos): not measured, but in the baseline"
    ]


def test_a_baseline_without_a_score_that_could_be_worse_fails():
    before = report(a={"speed": 2.0, "psnr": Score(None)})
    assert worse_scores(report(a={"speed": 9.0, "psnr": 30.0}), before) == [
        "a: the baseline has no score of it that could be worse"
    ]


def test_fewer_clips_of_the_same_reference_fail_and_more_are_told():
    many = {"psnr": Score(30.0, clips=20), "l1": Score(0.1, clips=20), "fgd": Score(5.0, clips=18)}
    few = {"psnr": Score(40.0, clips=3), "l1": Score(0.1, clips=3), "fgd": Score(4.0, clips=2)}
    assert worse_scores(report(a=few), report(a=many)) == [
        "psnr, l1 of a (videos): fewer clips, 3, were 20",
        "fgd of a (videos): fewer clips, 2, were 18",
    ]
    assert worse_scores(report({"reference": "y"}, a=few), report({"reference": "x"}, a=many)) == []
    more = {key: Score(score.value, clips=21) for key, score in many.items()}
    assert worse_scores(report(a=more), report(a=many)) == []
    assert changes(report(a=more), report(a=many))[0] == "videos, a, PSNR: 30 -> 30 (+0), 20 -> 21 clips"


def clips(section_report, **values):
    """The report with these scores of the clips of its system: clip -> PSNR."""
    section_report.sections[0].systems[1].clips.extend(
        {"id": f"{name}__host", "reference": name, "psnr": value} for name, value in values.items()
    )
    return section_report


def test_other_clips_of_the_same_reference_fail_though_they_are_as_many():
    before = clips(report(a={"psnr": Score(30.0, clips=2)}), easy=40.0, hard=20.0)
    other = clips(report(a={"psnr": Score(40.0, clips=2)}), easy=40.0, new=40.0)
    assert worse_scores(other, before) == ["psnr of a (videos): without hard"]
    lost = clips(report(a={"psnr": Score(40.0, clips=2)}), easy=40.0, hard=None, new=40.0)
    assert worse_scores(lost, before) == ["psnr of a (videos): without hard"]
    assert worse_scores(clips(report(a={"psnr": Score(30.0, clips=3)}), easy=40.0, new=30.0, hard=20.0), before) == []
    many = clips(report(a={"psnr": Score(30.0, clips=8)}), **{f"c{k}": 30.0 for k in range(8)})
    assert worse_scores(other, many) == ["psnr of a (videos): without c0, c1, c2, c3, c4 and 3 more"]


def test_frechet_distances_are_compared_by_the_middles_of_their_intervals():
    before = report(a={"fgd": Score(18.7, 2.7, 14.0)})
    assert worse_scores(report(a={"fgd": Score(36.6, 17.9, 34.2)}), before) == ["fgd of a (videos): 36.6, was 18.7"]
    assert worse_scores(report(a={"fgd": Score(20.5, 4.0, 15.0)}), before) == []
    # a larger set: its raw distance is smaller, what is left without the bias is not
    assert worse_scores(report(a={"fgd": Score(16.0, 9.0, 15.0)}), before) == ["fgd of a (videos): 16, was 18.7"]
    assert worse_scores(report(a={"fgd": Score(36.6, 17.9, 34.2)}), report(a={"fgd": 18.7})) != []
    zero = Score(0.8, 0.0, 0.0)
    assert worse_scores(report(a={"fgd": Score(0.9, 0.0, 0.0)}), report(a={"fgd": zero})) == []


def test_the_older_interval_gives_no_room_of_its_own():
    before = report(a={"psnr": Score(30.0, 28.5, 31.5)})
    assert worse_scores(report(a={"psnr": Score(28.0, 26.5, 29.5)}), before) != []  # the intervals overlap
    assert worse_scores(report(a={"psnr": Score(28.6, 27.0, 30.2)}), before) == []
    assert worse_scores(report(a={"psnr": Score(33.0, 32.0, 34.0)}), before) == []
