"""Settings survive TOML unchanged, and a wrong one stops the run with a sentence."""

import math
import tomllib
import typing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.errors import ConfigError
from gatewise.settings import (
    LIMITS,
    Experiment,
    assignment,
    from_mapping,
    layer_of,
    to_toml,
)

SECTIONS = {one.name: type(getattr(Experiment(), one.name)) for one in fields(Experiment)}
KEYS = [
    (section, key, kind)
    for section, settings in SECTIONS.items()
    for key, kind in typing.get_type_hints(settings).items()
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values(name, kind):
    """The values that a key of this kind may have."""
    least, most = LIMITS.get(name, (0, math.inf))
    top = None if most == math.inf else most
    if typing.get_origin(kind) is Literal:
        return st.sampled_from(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return st.lists(values(name, typing.get_args(kind)[0]), max_size=3).map(tuple)
    if typing.get_origin(kind) is dict:
        return st.dictionaries(texts, texts | st.integers(-9, 9) | st.booleans(), max_size=3)
    return {
        bool: st.booleans(),
        int: st.integers(least, top),
        float: st.floats(least, top, allow_nan=False, allow_infinity=False),
        str: texts,
    }[kind]


@st.composite
def mappings(draw):
    """Some keys of some sections."""
    some = draw(st.lists(st.sampled_from(KEYS), max_size=8))
    given_keys = {}
    for section, key, kind in some:
        given_keys.setdefault(section, {})[key] = draw(values(f"{section}.{key}", kind))
    return given_keys


@given(mappings())
def test_toml_holds_an_experiment_exactly(mapping):
    experiment = from_mapping(mapping)
    assert from_mapping(tomllib.loads(to_toml(experiment))) == experiment


@given(mappings(), mappings())
def test_later_settings_override_earlier_ones(first, second):
    both = asdict(from_mapping(second, from_mapping(first)))
    for section, keys in second.items():
        for key, value in keys.items():
            assert both[section][key] == value
    for section, keys in first.items():
        for key, value in keys.items():
            if key not in second.get(section, {}):
                assert both[section][key] == value


def test_an_empty_mapping_gives_the_defaults():
    assert from_mapping({}) == Experiment()
    assert from_mapping(asdict(Experiment())) == Experiment()


def test_a_file_of_settings_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('\ufeff[training]\nepochs = 3  # a few\n[data]\ntarget = "läuft"\n', "utf-8")
    read = from_mapping(layer_of(path))
    assert read.training.epochs == 3
    assert read.data.target == ("läuft",)


def test_an_invalid_settings_file_says_why(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no settings file .*gone\.toml"):
        layer_of(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        layer_of(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs: 3", "utf-8")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML: .*line 1"):
        layer_of(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text, as TOML must be"):
        layer_of(broken)


@pytest.mark.parametrize(
    ("mapping", "wanted"),
    [
        ({"trainign": {}}, r"no section \[trainign\]\. Did you mean 'training'\?"),
        ({"zzz": {}}, r"no section \[zzz\]\. Known: data, split"),
        (
            {"horizon": 5},
            r"'horizon' stands outside a section\. It belongs to a section: task\.horizon",
        ),
        ({"zzz": 5}, r"'zzz' stands outside a section\. Known: data, split"),
        ({"training": 3}, r"\[training\] must hold keys and values\. Received: 3"),
        ({"training": {"epoch": 3}}, r"\[training\] has no key 'epoch'\. Did you mean 'epochs'"),
        (
            {"training": {"epochs": 3.5}},
            r"training\.epochs must be a whole number\. Received: 3\.5",
        ),
        ({"training": {"epochs": True}}, r"training\.epochs must be a whole number"),
        ({"training": {"epochs": 10**400}}, r"training\.epochs must be a whole number"),
        ({"training": {"epochs": "ten"}}, r"training\.epochs must be a whole number"),
        ({"training": {"epochs": -1}}, r"training\.epochs must be at least 0\. Received: -1"),
        ({"training": {"learning_rate": "fast"}}, r"training\.learning_rate must be a number"),
        (
            {"training": {"learning_rate": math.nan}},
            r"learning_rate must be a number\. Received: nan",
        ),
        ({"training": {"clipnorm": math.inf}}, r"clipnorm must be a number\. Received: inf"),
        ({"training": {"schedule": "cosin"}}, r"schedule must be one of constant, cosine"),
        ({"training": {"schedule": ["cosine"]}}, r"schedule must be one of constant, cosine"),
        ({"training": {"optimizer_options": 1}}, r"optimizer_options must be a table"),
        (
            {"training": {"optimizer_options": {"a": None}}},
            r"optimizer_options cannot be saved as TOML",
        ),
        ({"network": {"bidirectional": 1}}, r"network\.bidirectional must be true or false"),
        ({"network": {"units": [32, 0]}}, r"network\.units must be at least 1\. Received: 0"),
        ({"network": {"dropout": 1.5}}, r"network\.dropout must be between 0 and 1"),
        ({"task": {"horizon": -3}}, r"task\.horizon must be between 0 and 100000000"),
        ({"split": {"test": -0.1}}, r"split\.test must be at least 0\. Received: -0\.1"),
        (
            {"evaluation": {"confidence_level": 95}},
            r"evaluation\.confidence_level must be between 0 and 1",
        ),
        ({"evaluation": {"n_resamples": 0}}, r"evaluation\.n_resamples must be at least 1"),
        ({"preparation": {"calendar": ["hours"]}}, r"calendar must be one of auto, none, minute"),
        ({"data": {"time": True}}, r"data\.time must be text\. Received: True"),
        ({"data": {"target": [None]}}, r"data\.target must be text\. Received: None"),
    ],
)
def test_a_wrong_setting_says_what_came_and_what_is_expected(mapping, wanted):
    with pytest.raises(ConfigError, match=wanted):
        from_mapping(mapping)


def test_values_may_have_the_types_of_python_users():
    made = from_mapping(
        {
            "data": {"path": Path("a") / "b.csv", "target": "load"},
            "task": {"horizon": np.int64(3), "quantiles": np.array([0.1, 0.9]).tolist()},
            "training": {"learning_rate": np.float32(0.5), "clipnorm": 2},
            "network": {"units": 64},
        }
    )
    assert made.data.path == str(Path("a") / "b.csv")
    assert made.data.target == ("load",)
    assert made.network.units == (64,)
    assert (made.task.horizon, made.training.learning_rate, made.training.clipnorm) == (3, 0.5, 2)
    assert type(made.task.horizon) is int
    assert type(made.training.clipnorm) is type(made.training.learning_rate) is float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.epochs=3", 3),
        ("training.epochs = 3", 3),
        ("network.units=[32, 16]", [32, 16]),
        ("network.bidirectional=true", True),
        ("data.time=day", "day"),
        ("data.time='day of year'", "day of year"),
        ("data.time=", ""),
        ("data.time=a=b", "a=b"),
        ("data.time=1.10", "1.10"),
        ("data.target=2024-01-01", "2024-01-01"),
        ('data.target=["a", "b"]', ["a", "b"]),
        ("split.test=0.25", 0.25),
        ("network.build=my.py:make", "my.py:make"),
    ],
)
def test_one_setting_is_read_as_toml_or_as_text(text, value):
    section, key, read = assignment(text)
    assert (section, key) == tuple(text.split("=")[0].strip().split("."))
    assert read == value
    from_mapping({section: {key: read}})


@pytest.mark.parametrize("text", ["epochs=3", "training.epochs", "training.=3", ""])
def test_one_setting_needs_section_key_and_value(text):
    with pytest.raises(ConfigError, match=r"--set must be section\.key=value\. Received"):
        assignment(text)


def test_changing_a_key_leaves_the_others():
    changed = Experiment().having("task", horizon=5)
    assert changed.task.horizon == 5
    assert changed.having("task", horizon=0) == Experiment()


def test_limits_name_keys_that_exist():
    assert set(LIMITS) <= {f"{section}.{key}" for section, key, _ in KEYS}
