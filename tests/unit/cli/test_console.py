from gesturegen_cli.cli import console


def test_a_continued_run_shows_the_rate_of_this_run_only(monkeypatch):
    now = iter([100.0, 110.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    rate = console._rate_meter()
    assert rate(421) == 0
    assert rate(441) == 2.0


def test_progress_is_shown_from_the_first_call_on(monkeypatch, capsys):
    now = iter([0.0, 6.0, 6.0, 16.0, 16.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    with console.Console().progress("render") as update:
        update(10, 100)
        update(30, 100)
    assert capsys.readouterr().err.splitlines() == ["render: 10/100", "render: 30/100, 2.0 frames/s, 35 s left"]
