from gesturegen_cli.cli import console


def test_a_continued_run_shows_the_rate_of_this_run_only(monkeypatch):
    now = iter([100.0, 110.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    rate = console._rate_meter()
    assert rate(421) == 0
    assert rate(441) == 2.0
