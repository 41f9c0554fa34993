"""The documentation says what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "examples").rglob("README.md"))


def test_the_configuration_page_is_up_to_date():
    made = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text() == made, "run: python docs/make_configuration.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in menu] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_named_in_the_documentation_exist(page):
    from typer.main import get_command

    from gesturegen_cli.cli.app import app

    commands = get_command(app).commands
    for line in "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)).splitlines():
        match = re.match(r"gesturegen ([a-z-]+)([^#]*)", line)
        if not match:
            continue
        name, rest = match.groups()
        assert name in commands, line
        command = commands[name]
        if hasattr(command, "commands"):  # a group: the second word is the command
            assert rest.split()[0] in command.commands, line
            command = command.commands[rest.split()[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = set(re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)) - known
        assert not unknown, (line, unknown)


def test_python_blocks_of_the_plugin_page_run(monkeypatch, tmp_path):
    text = (ROOT / "docs" / "plugins.md").read_text()
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class " in b)
    (tmp_path / "my_ears.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GESTUREGEN_PLUGINS", "audio_encoders:loudness=my_ears:Loudness")
    from gesturegen_cli import registry
    from gesturegen_cli.testing import check_audio_encoder

    check_audio_encoder(registry.build("audio_encoders", "loudness", {}))
