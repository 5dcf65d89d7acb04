"""What int8 weights change: the answers for made-up data, and the score on the validation part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.errors import DataError
from gatewise.exporting.program import Program, Sample
from gatewise.exporting.quantising import rounded
from gatewise.runs.artefact import Artefact
from gatewise.runtime.describe import describe
from gatewise.runtime.graph import Graph, names_in
from gatewise.runtime.network import Network
from gatewise.tasks import TASKS
from gatewise.tasks.task import monitored_measure
from gatewise.training.ready import validation_part


def as_int8(program: Program, samples: Sequence[Sample]) -> tuple[list[Sample], str]:
    """The samples with the answers of the rounded weights, and how far those are from the run."""
    graph = rounded(program.graph)
    names = list(names_in(graph.inputs))
    network = Network(replace(graph, inputs=names, outputs=list(names_in(graph.outputs))))
    apart, found = 0.0, []
    for sample in samples:
        outputs = network([sample.inputs[name] for name in names])
        answers = tuple(np.asarray(one, np.float64) for one in outputs)
        for new, old in zip(answers, sample.answers, strict=True):
            away = np.abs(new - old)
            away = away if sample.valid is None else away[sample.valid]
            apart = max(apart, float(away.max(initial=0.0)))
        found.append(replace(sample, answers=answers))
    cost = (
        f"int8 weights change the answers of the run by up to {apart:.2g} on made-up data. The "
        "difference above is the one from the same network with weights that int8 holds exactly."
    )
    return found, cost


def score_with_int8(trained: Any) -> list[str]:
    """A sentence with the scores on the validation part with both weights; none for a model."""
    if not isinstance(trained, Artefact):
        return []
    try:
        part = validation_part(trained.experiment)
    except DataError as error:
        return [f"The loss of score was not measured. {error}"]
    graph = describe(trained.network, trained.backend)
    before, name, count = _score(trained, part, graph)
    after, _, _ = _score(trained, part, rounded(graph))
    where = f"{Path(trained.experiment.data.path).name}, {count} examples"
    return [
        f"{name} on the validation part ({where}): {before:.4g} with float32 weights, {after:.4g} "
        "with int8."
    ]


def _score(artefact: Artefact, part: Any, graph: Graph) -> tuple[float, str, int]:
    """The score of the metric that chose the best epoch, its name, and the number of examples."""
    task, preparation, experiment = (
        TASKS[artefact.preparation.task],
        artefact.preparation,
        artefact.experiment,
    )
    examples = task.examples(part, preparation, experiment, "validation")
    measures = task.measures(examples, preparation, experiment)
    if experiment.training.monitor == "loss":
        measure = measures[0]
    else:
        measure = monitored_measure(measures, experiment)
    outputs = task.outputs.predict(Network(graph), examples, preparation, experiment)
    predictions = task.postprocess(outputs, examples, preparation, artefact.baselines)
    value = measure.value(measure.statistics(predictions).sum(axis=0))
    return float(value), measure.name, len(examples)
