"""Settings have owners: one that neither the task, the data nor the network reads is refused."""

import re
from dataclasses import asdict

import pytest

from gatewise.errors import ConfigError
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks import TASKS
from gatewise.tasks.owned import EVERY_RUN, changed_settings, implied_task, refuse_foreign

KEYS = {
    f"{section}.{key}": value
    for section, keys in asdict(Experiment()).items()
    for key, value in keys.items()
}
PLACES = [
    (task, kind, network)
    for task in TASKS
    for kind in TASKS[task].settings
    for network in TASKS[task].network.builders
]


def known(task, kind, network):
    task = TASKS[task]
    return EVERY_RUN | task.settings[kind] | task.network.settings(network, kind)


def other(name):
    """A value of a setting other than its default."""
    value = KEYS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if value >= 0 else 0.5
    if isinstance(value, str):
        return "other"
    return {"a": 1} if isinstance(value, dict) else ("other",)


def test_every_setting_is_owned_and_nothing_else_is():
    owned = set(EVERY_RUN).union(*(known(*place) for place in PLACES))
    assert owned == KEYS.keys()


@pytest.mark.parametrize(("task", "kind", "network"), PLACES)
def test_a_setting_that_nothing_reads_is_refused_with_its_owners(task, kind, network):
    plain = Experiment().having("task", name=task).having("network", kind=network or "auto")
    refuse_foreign(plain, kind, TASKS)
    for name in KEYS.keys() - known(task, kind, network):
        section, key = name.split(".")
        experiment = plain.having(section, **{key: other(name)})
        with pytest.raises(
            ConfigError, match=rf"{re.escape(name)} does not apply to {task} of "
        ) as e:
            refuse_foreign(experiment, kind, TASKS)
        assert re.search(r", only to \w.*\. Leave it out\.", str(e.value)), e.value


@pytest.mark.parametrize(
    ("task", "kind", "settings", "said"),
    [
        ("classify", "text", {"task": {"beam_size": 3}}, "only to translate and transcribe"),
        ("forecast", "numbers", {"task": {"window": 3}}, "classify of numbers and classify of rec"),
        (
            "forecast",
            "numbers",
            {"split": {"test_ids": "a"}},
            "regress, classify, tag, language, translate and transcribe",
        ),
        ("forecast", "numbers", {"network": {"pooling": "max"}}, "forecast with network.kind = st"),
        (
            "classify",
            "numbers",
            {"training": {"noise": 0.1}},
            "Did you mean network.gaussian_noise?",
        ),
        ("classify", "numbers", {"network": {"linear": False}}, "network.kind = segments. Leave"),
    ],
)
def test_the_sentence_names_the_owners_and_similar_settings(task, kind, settings, said):
    experiment = from_mapping({"task": {"name": task}}, from_mapping(settings))
    with pytest.raises(ConfigError, match=re.escape(said)):
        refuse_foreign(experiment, kind, TASKS)


@pytest.mark.parametrize(
    ("task", "kind", "name", "needed"),
    [
        ("classify", "numbers", "network.kernel_size", "network.filters"),
        ("classify", "text", "network.strides", "network.filters"),
        ("transcribe", "sound", "network.kernel_size", "network.filters"),
        ("tag", "tokens", "network.dense_activation", "network.dense"),
        ("classify", "sound", "task.stride", "task.window"),
    ],
)
def test_a_setting_of_an_unused_setting_is_refused(task, kind, name, needed):
    (section, key), plain = name.split("."), Experiment().having("task", name=task)
    experiment = plain.having(section, **{key: other(name)})
    with pytest.raises(ConfigError, match=rf"{name} needs {needed}, which is not given"):
        refuse_foreign(experiment, kind, TASKS)
    above, below = needed.split(".")
    refuse_foreign(experiment.having(above, **{below: other(needed)}), kind, TASKS)


def test_a_users_network_may_read_every_setting_of_networks():
    experiment = Experiment().having("task", name="classify").having("network", linear=False)
    refuse_foreign(experiment, "numbers", TASKS, own_network=True)
    assert changed_settings(experiment) == ["task.name", "network.linear"]


def test_a_setting_that_one_task_reads_decides_the_task():
    def implied(**given):
        return implied_task(from_mapping({"task": given}), TASKS)

    assert implied(horizon=3) == ("forecast", "task.horizon")
    assert implied(false_alarms=0.1) == ("detect", "task.false_alarms")
    assert implied(lm_order=3) == ("transcribe", "task.lm_order")
    assert implied(lookback=3) == ("", "")
    assert implied() == ("", "")
