"""curve(): validation scores by the amount of data, or by the learning rate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatewise import engine
from gatewise.arguments import experiment_from, flags
from gatewise.curves import page as pages
from gatewise.curves.rate import losses_by_rate
from gatewise.curves.size import scores_by_size
from gatewise.errors import ConfigError
from gatewise.judging import folding
from gatewise.judging.repeats import Watch, check_repeats
from gatewise.judging.validation import monitor_of
from gatewise.networks import Builder
from gatewise.output import check_free_page, inputs, write_text
from gatewise.reporting import formats
from gatewise.runs.artefact import finite
from gatewise.training.interrupts import SKIP, STOP, Interrupts
from gatewise.training.phases import Phase
from gatewise.training.ready import make_ready, part_sizes

BY = ("size", "learning-rate")
REPEATS = 3
MESSAGES = {
    STOP: "Stopping; the points so far are the result.",
    SKIP: "The points so far are the result; another Ctrl-C abandons them.",
}


def curve(
    data: Any = None,
    *,
    by: str = "size",
    repeats: int = REPEATS,
    task: str = "",
    target: str | Sequence[str] = (),
    horizon: int | None = None,
    lookback: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | str | Path | None = None,
    network: Builder | None = None,
    page: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """How validation scores depend on the amount of training data, or on the learning rate.

    `by="size"` trains on an eighth, a quarter, a half and all of the training part, from `repeats`
    seeds each, and extrapolates a power law to twice the data. `by="learning-rate"` trains one
    network while the rate rises (the range test of Smith 2017). Nothing is saved but `page`, an
    HTML file, and the test part is not touched. Everything else is as in `train`.

    Returns:
        `points`: for each amount (steps or sequences, see `unit`) its `scores`, or for each rate
        the losses. `sentence` and `remarks`: what they say. By size, `twice`: the score for twice
        the data with the 90% interval of a run, and `check`: the score for all data as the other
        points predict it; each may be None. By learning rate, `falls`, `lowest` and `diverges`: the
        rates at which the validation loss begins to fall, is lowest, and rises above its start.

    Raises:
        ConfigError: `by` or `repeats` is wrong, there is no validation part, or the page cannot be
            written.
        KeyboardInterrupt: a third Ctrl-C; before it, the points so far are the result.
    """
    if by not in BY:
        raise ConfigError(f"--by must be one of {', '.join(BY)}. Received: {by!r}.")
    check_repeats(repeats)
    given = flags(task, horizon=horizon, lookback=lookback, epochs=epochs, seed=seed)
    experiment, source = experiment_from(data, settings, target, given)
    folding.refuse_several(experiment, "A curve trains single networks.")
    path = None if page is None else Path(page)
    if path is not None:
        check_free_page(path, reads=inputs(experiment), overwrite=overwrite)
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    with chosen, Interrupts() as interrupts:
        with Phase("Reading the data"):
            ready = make_ready(experiment, source, network)
        if ready.validation is None:
            raise ConfigError(
                "A curve needs scores on the validation part, and there is none. Set "
                "split.validation."
            )
        interrupts.training = True
        interrupts.messages |= MESSAGES
        if by == "size":
            content = scores_by_size(
                ready,
                experiment,
                monitor_of(ready, []),
                repeats=repeats,
                interrupts=interrupts,
                watch=watch,
            )
        else:
            content = losses_by_rate(ready, interrupts)
    sizes = part_sizes(ready)
    content["data"] = Path(ready.experiment.data.path).name
    content["overview"] = {
        "task": ready.task.name,
        **{
            name: ", ".join(
                formats.count(count, unit.removesuffix("s")) for unit, count in size.items()
            )
            for name, size in sizes.items()
            if name != "test"
        },
        "validation metric": content["metric"],
    }
    if path is not None:
        write_text(path, pages.draw(content), overwrite=overwrite)
    plain: dict[str, Any] = finite(content)
    return plain
