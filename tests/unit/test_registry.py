"""Plugins are found without being imported, and whatever is wrong with one is said by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gesturegen_cli import registry
from gesturegen_cli.errors import ConfigError, EnvironmentFault


def install(folder: Path, distribution: str, group: str, entries: dict[str, str], code: str = "") -> None:
    """Lay a distribution's metadata, and a module, into a folder on the path."""
    info = folder / f"{distribution}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    lines = "\n".join(f"{name} = {target}" for name, target in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    (folder / f"{distribution}.py").write_text(code)


GOOD = """
from dataclasses import dataclass
class Mine:
    @dataclass(frozen=True)
    class Config:
        width: int = 8
        dim: int = 2
    def __init__(self, config):
        self.config = config
    def __call__(self, motion, timestep, cond):
        return motion
"""


def test_listing_imports_no_plugin_and_no_torch():
    code = (
        "import sys; from gesturegen_cli import registry\n"
        "names = [p.name for kind in registry.GROUPS for p in registry.list_plugins(kind)]\n"
        "assert {'flow', 'log-mel', 'transformer', 'ssl'} <= set(names), names\n"
        "heavy = ('torch', 'gesturegen_cli.models', 'gesturegen_cli.importers')\n"
        "bad = [m for m in sys.modules if m.startswith(heavy)]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_kind_lists_the_kinds():
    with pytest.raises(ConfigError, match="audio_encoders, denoisers, deviation_models, importers"):
        registry.list_plugins("renderers")


def test_an_unknown_name_lists_what_is_installed_and_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown denoiser 'transfromer', installed: .*transformer") as caught:
        registry.find_plugin("denoisers", "transfromer")
    assert caught.value.hint == "did you mean 'transformer'?"
    with pytest.raises(ConfigError, match="unknown audio encoder 'zzzz'") as caught:
        registry.find_plugin("audio_encoders", "zzzz")
    assert caught.value.hint == "install the package that brings it"


def test_an_installed_plugin_is_listed_with_its_distribution_and_built(tmp_path, monkeypatch):
    install(tmp_path, "good_plugin", "gesturegen.denoisers", {"mine": "good_plugin:Mine"}, GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = registry.find_plugin("denoisers", "mine")
    assert (plugin.provider, plugin.version) == ("good-plugin", "1.5")
    assert "good_plugin" not in sys.modules
    built = registry.build("denoisers", "mine", {"width": 3}, dim=7)
    assert (built.config.width, built.config.dim) == (3, 7)
    monkeypatch.delitem(sys.modules, "good_plugin")


def test_params_of_a_plugin_are_checked_and_may_not_set_what_gesturegen_sets(tmp_path, monkeypatch):
    install(tmp_path, "checked_plugin", "gesturegen.denoisers", {"mine": "checked_plugin:Mine"}, GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown key 'mine\.params\.widht'") as caught:
        registry.build("denoisers", "mine", {"widht": 3})
    assert "mine.params.width" in caught.value.hint
    with pytest.raises(ConfigError, match="dim is set by gesturegen itself"):
        registry.build("denoisers", "mine", {"dim": 3}, dim=7)
    monkeypatch.delitem(sys.modules, "checked_plugin")


def test_a_plugin_that_cannot_be_imported_names_its_distribution_and_breaks_only_itself(tmp_path, monkeypatch):
    install(tmp_path, "broken_plugin", "gesturegen.denoisers", {"bad": "broken_plugin:Mine"}, "raise ValueError('oh')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"'bad' of broken-plugin cannot be imported \(ValueError: oh\)"):
        registry.load_plugin("denoisers", "bad")
    assert registry.load_plugin("denoisers", "transformer").__name__ == "TransformerDenoiser"


def test_a_plugin_without_config_is_refused(tmp_path, monkeypatch):
    install(tmp_path, "plain_plugin", "gesturegen.denoisers", {"plain": "plain_plugin:Mine"}, "class Mine: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match="plain-plugin has no nested Config dataclass"):
        registry.load_plugin("denoisers", "plain")
    monkeypatch.delitem(sys.modules, "plain_plugin")


def test_a_name_claimed_twice_fails_only_when_it_is_used(tmp_path, monkeypatch):
    install(tmp_path / "a", "first_plugin", "gesturegen.denoisers", {"same": "first_plugin:Mine"})
    install(tmp_path / "b", "second_plugin", "gesturegen.denoisers", {"same": "second_plugin:Mine"})
    monkeypatch.syspath_prepend(tmp_path / "a")
    monkeypatch.syspath_prepend(tmp_path / "b")
    assert registry.find_plugin("denoisers", "transformer").provider == "gesturegen"
    with pytest.raises(ConfigError, match="claimed by first-plugin, second-plugin"):
        registry.find_plugin("denoisers", "same")


def test_a_built_in_wins_over_a_plugin_of_its_name(tmp_path, monkeypatch):
    install(tmp_path, "shadow_plugin", "gesturegen.denoisers", {"transformer": "shadow_plugin:Mine"})
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.find_plugin("denoisers", "transformer").provider == "gesturegen"


def test_third_party_plugins_can_be_switched_off(tmp_path, monkeypatch):
    install(tmp_path, "other_plugin", "gesturegen.denoisers", {"other": "other_plugin:Mine"})
    monkeypatch.syspath_prepend(tmp_path)
    assert "other" in [p.name for p in registry.list_plugins("denoisers")]
    monkeypatch.setenv(registry.ENVIRONMENT, "none")
    assert [p.name for p in registry.list_plugins("denoisers")] == ["transformer"]


def test_the_environment_variable_registers_without_installing(tmp_path, monkeypatch):
    (tmp_path / "env_module.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.ENVIRONMENT, "denoisers:mine=env_module:Mine, audio_encoders:ears=env_module:Mine")
    assert registry.build("denoisers", "mine", {}).config.width == 8
    assert "mine" not in [p.name for p in registry.list_plugins("audio_encoders")]
    monkeypatch.delitem(sys.modules, "env_module")


@pytest.mark.parametrize(
    "text", ["mine=m:C", "painters:mine=m:C", "denoisers:mine", "denoisers:mine=m", "denoisers:=m:C"]
)
def test_a_malformed_environment_variable_says_what_is_expected(monkeypatch, text):
    monkeypatch.setenv(registry.ENVIRONMENT, text)
    with pytest.raises(ConfigError, match="expected KIND:NAME=MODULE:CLASS"):
        registry.list_plugins("denoisers")


def test_an_entry_point_to_a_missing_module_names_its_distribution(tmp_path, monkeypatch):
    install(tmp_path, "lost_plugin", "gesturegen.denoisers", {"lost": "nowhere_at_all:Mine"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"'lost' of lost-plugin cannot be imported \(ModuleNotFoundError"):
        registry.load_plugin("denoisers", "lost")


def test_an_entry_point_to_a_missing_class_names_its_distribution(tmp_path, monkeypatch):
    install(tmp_path, "bare_plugin", "gesturegen.denoisers", {"bare": "bare_plugin:Yours"}, GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"'bare' of bare-plugin cannot be imported \(AttributeError"):
        registry.load_plugin("denoisers", "bare")
    monkeypatch.delitem(sys.modules, "bare_plugin")


def test_a_class_without_a_needed_member_is_refused_when_it_is_built(tmp_path, monkeypatch):
    entries = {"deaf": "deaf_plugin:Mine"}
    install(tmp_path, "deaf_plugin", "gesturegen.audio_encoders", entries, GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match="audio encoder 'deaf' of deaf-plugin has no dim, rate") as caught:
        registry.build("audio_encoders", "deaf", {})
    assert "uninstall deaf-plugin" in caught.value.hint
    monkeypatch.delitem(sys.modules, "deaf_plugin")
