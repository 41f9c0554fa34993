"""The documentation says what the code does."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

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


@pytest.fixture
def blocks(monkeypatch, tmp_path):
    """The Python blocks of the plugin page, the first one as the module it stands for."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    (tmp_path / "gesturegen_loudness.py").write_text(found[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GESTUREGEN_PLUGINS", "audio_encoders:loudness=gesturegen_loudness:Loudness")
    yield found
    sys.modules.pop("gesturegen_loudness", None)


def test_the_tutorial_builds_a_plugin_that_conforms(blocks, tmp_path):
    from gesturegen_cli.cli.app import app

    (tmp_path / "test_it.py").write_text(blocks[1])
    runpy.run_path(str(tmp_path / "test_it.py"))["test_loudness_conforms"]()
    done = CliRunner().invoke(app, ["plugins", "check", "loudness", "--set", "dim=16"])
    assert done.exit_code == 0, done.stdout
    assert "Numbers per step." in CliRunner().invoke(app, ["plugins", "info", "loudness"]).stdout
    assert CliRunner().invoke(app, ["plugins", "check", "loudness", "--set", "dim=0"]).exit_code == 2


def test_the_importer_of_the_page_reads_a_checkpoint(blocks, tmp_path):
    import torch

    (tmp_path / "theirs.py").write_text(blocks[2])
    made = runpy.run_path(str(tmp_path / "theirs.py"))
    torch.save({"generator": {"motion_net.weight": torch.ones(2)}}, tmp_path / "x.pt")
    model = made["Theirs"](made["Theirs"].Config())([tmp_path / "x.pt"])
    assert list(model.components["deviation"].tensors) == ["motion.weight"]
    assert model.names == {"motion_net.weight": "deviation: motion.weight"}


def test_the_table_of_plugins_names_all_of_this_repository():
    text = (ROOT / "docs" / "plugins.md").read_text()
    for project in [ROOT / "pyproject.toml", *sorted((ROOT / "plugins").glob("gesturegen-*/pyproject.toml"))]:
        groups = tomllib.loads(project.read_text())["project"].get("entry-points", {})
        names = [name for group, entries in groups.items() if group.startswith("gesturegen.") for name in entries]
        assert [name for name in names if f"`{name}`" not in text] == []
