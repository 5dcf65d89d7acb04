"""The settings that a run reads: shared ones and those of its task, data and network."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import get_close_matches

from gatewise.errors import ConfigError
from gatewise.settings import HOLDING, Experiment, names
from gatewise.tasks.task import AnyTask

# The settings that every run reads.
EVERY_RUN = names(
    data="path validation test column_names quotes encoding skip_rows header_rows footer_rows"
    " comment decimal thousands layout id missing_values",
    split="train validation test by",
    task="name",
    network="kind build",
    training="quality refit epochs batch_size optimizer learning_rate optimizer_options schedule"
    " warmup clipnorm clipvalue averaging gradient_noise monitor patience seed",
    evaluation="metric n_resamples confidence_level audit",
    engine="kind products",
    report="title examples",
)


def refuse_foreign(
    experiment: Experiment, kind: str, tasks: Mapping[str, AnyTask], *, own_network: bool = False
) -> None:
    """Refuse a setting that this run does not read.

    A network of the user's own may read all of `[network]`.

    Raises:
        ConfigError: the run does not read a setting; the message names the tasks that do.
    """
    task = tasks[experiment.task.name]
    if kind not in task.settings:
        return  # the task itself refuses the data
    known = settings_of_run(experiment, kind, tasks)
    changed = changed_settings(experiment)
    if own_network:
        changed = [name for name in changed if not name.startswith("network.")]
    for name in changed:
        if name not in known:
            raise ConfigError(_message(name, experiment, kind, tasks, known))
        needed = (task.needs | task.network.needs).get(name, name)
        if needed not in changed:
            raise ConfigError(f"{name} needs {needed}, which is not given. Give both or neither.")


def settings_of_run(
    experiment: Experiment, kind: str, tasks: Mapping[str, AnyTask]
) -> frozenset[str]:
    """The full names of the settings that a run on this kind of data reads."""
    task = tasks[experiment.task.name]
    return EVERY_RUN | task.settings[kind] | _of_network(task, experiment.network.kind, kind)


def implied_task(experiment: Experiment, tasks: Mapping[str, AnyTask]) -> tuple[str, str]:
    """The only task that reads a given setting of `[task]`, and that setting; "" if open.

    A task that is never guessed is implied by a setting that no other task reads.
    """
    for name in changed_settings(experiment):
        owners = {owner.split()[0] for owner in owners_of(name, tasks)}
        owners = {one for one in owners if tasks[one].recognise} or owners
        if name.startswith("task.") and len(owners) == 1:
            return owners.pop(), name
    return "", ""


def changed_settings(experiment: Experiment) -> list[str]:
    """The settings that differ from their defaults."""
    defaults = asdict(Experiment())
    return [
        f"{section}.{key}"
        for section, keys in asdict(experiment).items()
        for key, value in keys.items()
        if value != defaults[section][key]
    ]


def _of_network(task: AnyTask, network: str, kind: str) -> frozenset[str]:
    network_part = task.network
    default = next(iter(network_part.builders))
    # Building the network refuses an unknown kind.
    return network_part.settings(network if network in network_part.builders else default, kind)


def _message(
    name: str,
    experiment: Experiment,
    kind: str,
    tasks: Mapping[str, AnyTask],
    known: frozenset[str],
) -> str:
    task = experiment.task.name
    owners = list(dict.fromkeys(owners_of(name, tasks)))
    keys = {one.partition(".")[2]: one for one in sorted(known)}
    key = name.partition(".")[2]
    similar = get_close_matches(key, keys, n=1, cutoff=0.9) or [
        k for k in keys if key in k.split("_")
    ]
    hint = f" Did you mean {keys[similar[0]]}?" if similar else ""
    here = f"{task} of {HOLDING[kind]}"
    if len(tasks[task].network.builders) > 1:
        here += f" with network.kind = {_kind_of(tasks[task], experiment.network.kind)}"
    all_owners = " and ".join(filter(None, [", ".join(owners[:-1]), owners[-1]]))
    return f"{name} does not apply to {here}, only to {all_owners}. Leave it out.{hint}"


def _kind_of(task: AnyTask, network: str) -> str:
    return next(iter(task.network.builders)) if network == "auto" else network


def owners_of(name: str, tasks: Mapping[str, AnyTask]) -> Iterator[str]:
    """The tasks that read the setting, with the kind of data or network if not all of them do."""
    for task in tasks.values():
        networks = list(task.network.builders)
        pairs = [(network, kind) for network in networks for kind in task.settings]
        readers = [
            (network, kind)
            for network, kind in pairs
            if name in task.settings[kind] | task.network.settings(network, kind)
        ]
        if len(readers) == len(pairs):
            yield task.name
            continue
        whole = [kind for kind in task.settings if all((one, kind) in readers for one in networks)]
        yield from (f"{task.name} of {HOLDING[kind]}" for kind in whole)
        for network in networks:
            with_network = f" with network.kind = {network}" if len(networks) > 1 else ""
            kinds = [kind for kind in task.settings if (network, kind) in readers]
            if len(kinds) == len(task.settings):
                yield f"{task.name}{with_network}"
                continue
            rest = [kind for kind in kinds if kind not in whole]
            yield from (f"{task.name} of {HOLDING[kind]}{with_network}" for kind in rest)
