"""Configuration: what is refused, with which words, and what is understood."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gesturegen_cli.config.load import (
    MAX_BYTES,
    config_from_tree,
    from_tree,
    load_config,
    merge,
    parse_set,
    parse_yaml,
    preset_names,
    read_yaml,
)
from gesturegen_cli.config.schema import Config
from gesturegen_cli.errors import ConfigError


def refused(*assignments: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(assignments=assignments)
    return caught.value


def test_defaults_are_the_schema():
    assert load_config() == Config()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name):
    assert isinstance(load_config(preset=name), Config)


def test_layers_win_in_the_order_preset_file_set_flag(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sampling: {steps: 11, guidance: 3.0, energy: 0.5}\n")
    flags = {"sampling.energy": 0.9, "rng_seed": None}
    config = load_config("base", file, ["sampling.guidance=4", "sampling.energy=0.7"], flags)
    assert (config.sampling.steps, config.sampling.guidance, config.sampling.energy) == (11, 4.0, 0.9)
    assert config.rng_seed == 0


def test_an_unknown_key_names_itself_and_the_nearest():
    error = refused("sampling.stpes=3")
    assert error.message == "unknown key 'sampling.stpes'"
    assert error.hint == "did you mean 'sampling.steps'?"


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown preset 'bass'") as caught:
        load_config(preset="bass")
    assert "base" in caught.value.hint


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("sampling.steps=many", "sampling.steps = 'many', expected a whole number"),
        ("sampling.steps=2.5", "sampling.steps = 2.5, expected a whole number"),
        ("sampling.steps=true", "sampling.steps = True, expected a whole number"),
        ("sampling.guidance=yes", "sampling.guidance = True, expected a number"),
        ("sampling.guidance=.nan", "sampling.guidance = nan, expected a finite number"),
        ("sampling.steps=inf", "sampling.steps = 'inf', expected a whole number"),
        ("train.learning_rate=inf", "train.learning_rate = 'inf', expected a finite number"),
        ("sampling.scheduler=3", "sampling.scheduler = 3, expected text"),
        ("sampling=fast", "sampling = 'fast', expected a mapping of keys"),
        ("train.betas=[0.9]", "train.betas = [0.9], expected a list of 2 values"),
        ("sampling.steps=0", "sampling.steps = 0, expected at least 1"),
        ("sampling.guidance=21", "sampling.guidance = 21.0, expected at most 20"),
        ("sampling.scheduler=dim", "sampling.scheduler = 'dim', expected one of ddim, ddpm, dpm-solver++, unipc"),
        ("window.seed_frames=", "window.seed_frames = None, expected a whole number"),
    ],
)
def test_wrong_values_are_refused_with_key_value_and_expectation(assignment, expected):
    error = refused(assignment)
    assert error.message == expected
    assert error.hint


def test_seed_frames_must_leave_room_in_the_window():
    assert (
        "below window.frames (10 seed frames, 8 frames)" in refused("window.frames=8", "window.seed_frames=10").message
    )


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "0.0001", "'1e-4'"])
def test_numbers_in_scientific_notation_are_numbers(text):
    assert load_config(assignments=[f"train.learning_rate={text}"]).train.learning_rate == 1e-4


@pytest.mark.parametrize("word", ["no", "No", '"no"', "'no'"])
def test_the_choice_no_may_be_written_without_quotes(word):
    assert load_config("paper", assignments=(f"pretrain.precision={word}",)).pretrain.precision == "no"


def test_true_and_false_are_no_words_where_yes_and_no_are_no_choices():
    assert "expected" in refused("sampling.scheduler=no").message
    assert "expected text" in refused("deviation_loss.vgg19=true").message
    assert "expected" in refused("pretrain.precision=yes").message


def test_a_whole_float_is_a_whole_number():
    assert load_config(assignments=["sampling.steps=1e1", "train.steps=200.0"]).train.steps == 200


@pytest.mark.parametrize("text", ["steps", "=3", "a..b=3", ".a=3"])
def test_a_set_without_key_or_value_is_refused(text):
    with pytest.raises(ConfigError, match="not of the form key=value"):
        parse_set(text)


def test_a_set_value_may_hold_an_equals_sign():
    assert parse_set("device=a=b") == {"device": "a=b"}


def test_a_component_may_be_given_by_name_alone():
    assert load_config(assignments=["denoiser=mine"]).denoiser.name == "mine"


def test_a_new_component_name_drops_the_old_params():
    base = {"denoiser": {"name": "transformer", "params": {"width": 64}}}
    assert merge(base, {"denoiser": {"name": "other"}})["denoiser"] == {"name": "other", "params": {}}
    assert merge(base, {"denoiser": {"name": "transformer", "params": {"layers": 2}}})["denoiser"]["params"] == {
        "width": 64,
        "layers": 2,
    }


def test_a_component_renamed_by_text_drops_the_old_params_too(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("denoiser: {name: transformer, params: {width: 64}}\n")
    assert load_config(file=file, assignments=["denoiser=other"]).denoiser.params == {}
    assert load_config(file=file, assignments=["denoiser=transformer"]).denoiser.params == {"width": 64}


def test_duplicate_keys_are_refused():
    with pytest.raises(ConfigError, match="key 'steps' stands twice"):
        parse_yaml("sampling:\n  steps: 3\n  steps: 4\n", "mine.yaml")


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match=r"mine\.yaml: YAML aliases"):
        parse_yaml("\n".join(lines), "mine.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !mine 3",
        "a: [1, 2",
        "a: b: c",
        "\t- a",
        "a: \x07",
        "[" * 5000,
        "2024-99-99",
    ],
)
def test_anything_but_plain_yaml_is_refused(text):
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        # a date of the wrong form is a ValueError inside PyYAML
        from_tree(Config, parse_yaml(text, "mine.yaml"), "mine.yaml")


@pytest.mark.parametrize("text", ["{[a]: 1}", "{{a: 1}: 2}", "3: x", "true: x", "? [a, b]\n: x"])
def test_keys_that_are_not_text_are_refused(text):
    with pytest.raises(ConfigError, match="is not text"):
        parse_yaml(text, "mine.yaml")


def test_an_empty_file_changes_nothing(tmp_path):
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert load_config(file=file) == Config()


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"text"])
def test_a_file_without_a_mapping_is_refused(tmp_path, content):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="expected a mapping of keys"):
        read_yaml(file)


def test_files_that_are_no_yaml_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_yaml(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(latin)
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=f"{MAX_BYTES + 1} bytes"):
        read_yaml(big)


def test_a_missing_key_without_default_is_refused():
    @dataclass(frozen=True)
    class Needs:
        width: int

    with pytest.raises(ConfigError, match="width"):
        from_tree(Needs, {}, "mine.params")


def test_a_config_survives_the_way_through_plain_values():
    from dataclasses import asdict

    config = load_config(preset="base", assignments=["train.betas=[0.8, 0.9]", "deviation.params={size: 64}"])
    assert config_from_tree(asdict(config)) == config
