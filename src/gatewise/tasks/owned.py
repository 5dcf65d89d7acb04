"""Which settings a run has: those of every run, of its task and data, and of its network."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import get_close_matches

from gatewise.errors import ConfigError
from gatewise.settings import HOLDING, Experiment, names
from gatewise.tasks.task import Task

# What the code reads that all tasks share.
EVERY_RUN = names(
    data="path validation test column_names quotes encoding layout id missing_values",
    split="train validation test by",
    task="name",
    network="kind build",
    training="epochs batch_size optimizer learning_rate optimizer_options schedule warmup clipnorm"
    " clipvalue monitor patience seed",
    evaluation="metric n_resamples confidence_level",
    engine="kind",
    report="title examples",
)


def refuse_foreign(
    experiment: Experiment, kind: str, tasks: Mapping[str, Task], *, own_network: bool = False
) -> None:
    """Refuse a setting that is given and that nothing in this run reads.

    A network of the user's own may read all of `[network]`.

    Raises:
        ConfigError: it says what the setting is for.
    """
    task = tasks[experiment.task.name]
    if kind not in task.settings:
        return  # the task refuses the data themselves
    known = EVERY_RUN | task.settings[kind] | _of_network(task, experiment.network.kind, kind)
    found = given(experiment)
    if own_network:
        found = [name for name in found if not name.startswith("network.")]
    for name in found:
        if name not in known:
            raise ConfigError(_sentence(name, experiment, kind, tasks, known))
        needed = (task.needs | task.network.needs).get(name, name)
        if needed not in found:
            raise ConfigError(
                f"{name} says how {needed} is used, and {needed} is not given. Give both, or "
                "neither."
            )


def given(experiment: Experiment) -> list[str]:
    """The settings that differ from their defaults."""
    usual = asdict(Experiment())
    return [
        f"{section}.{key}"
        for section, keys in asdict(experiment).items()
        for key, value in keys.items()
        if value != usual[section][key]
    ]


def _of_network(task: Task, network: str, kind: str) -> frozenset[str]:
    found = task.network
    usual = next(iter(found.builders))
    # An unknown kind is refused where the network is built.
    return found.settings(network if network in found.builders else usual, kind)


def _sentence(
    name: str, experiment: Experiment, kind: str, tasks: Mapping[str, Task], known: frozenset[str]
) -> str:
    task = experiment.task.name
    owners = list(dict.fromkeys(owners_of(name, tasks)))
    keys = {one.partition(".")[2]: one for one in sorted(known)}
    key = name.partition(".")[2]
    near = get_close_matches(key, keys, n=1, cutoff=0.9) or [k for k in keys if key in k.split("_")]
    hint = f" Did you mean {keys[near[0]]}?" if near else ""
    here = f"{task} of {HOLDING[kind]}"
    if len(tasks[task].network.builders) > 1:
        here += f" with network.kind = {_kind_of(tasks[task], experiment.network.kind)}"
    all_of_them = " and ".join(filter(None, [", ".join(owners[:-1]), owners[-1]]))
    return f"{name} has no place in {here}; it is for {all_of_them}. Leave it out.{hint}"


def _kind_of(task: Task, network: str) -> str:
    return next(iter(task.network.builders)) if network == "auto" else network


def owners_of(name: str, tasks: Mapping[str, Task]) -> Iterator[str]:
    """The tasks that have the setting, with the kind of data or network where not all have it."""
    for task in tasks.values():
        networks = list(task.network.builders)
        pairs = [(network, kind) for network in networks for kind in task.settings]
        having = [
            (network, kind)
            for network, kind in pairs
            if name in task.settings[kind] | task.network.settings(network, kind)
        ]
        if len(having) == len(pairs):
            yield task.name
            continue
        for network, kind in having:
            with_network = f" with network.kind = {network}" if len(networks) > 1 else ""
            of_kind = f" of {HOLDING[kind]}" if len(task.settings) > 1 else ""
            yield f"{task.name}{of_kind}{with_network}"
