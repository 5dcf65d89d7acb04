"""What int8 weights change: the answers for made-up data, and the score on the validation part."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gatewise.errors import DataError
from gatewise.exporting.program import Program, Sample
from gatewise.exporting.quantising import MATRICES, int8, rounded
from gatewise.runs.artefact import Artefact
from gatewise.runtime.describe import describe
from gatewise.runtime.graph import ALONE, Graph, names_in
from gatewise.runtime.network import Network
from gatewise.tasks import TASKS
from gatewise.tasks.task import monitored_measure
from gatewise.training.ready import validation_part

# The layers with matrices that are rounded -> their operation in a graph.
LAYERS = {
    keras.layers.LSTMCell: "lstm",
    keras.layers.Dense: "dense",
    keras.layers.Embedding: "embedding",
}


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
    return found, change_by_int8(apart)


def change_by_int8(apart: float) -> str:
    """A sentence on how far the answers are from those of the run, at most."""
    return (
        f"int8 weights change the answers of the run by up to {apart:.2g} on made-up data. The "
        "difference above is the one from the same network with weights that int8 holds exactly."
    )


def with_int8(network: keras.Model) -> keras.Model:
    """A copy of a network with the weights that int8 numbers stand for."""
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    for layer in copy._flatten_layers():
        for kind, operation in LAYERS.items():
            for name, axis in MATRICES[operation].items() if isinstance(layer, kind) else ():
                weight = getattr(layer, name)
                weight.assign(int8(keras.ops.convert_to_numpy(weight), axis).floats())
    return copy


def score_with_int8(trained: Any) -> list[str]:
    """A sentence with the scores on the validation part with both weights; none for a model."""
    if not isinstance(trained, Artefact):
        return []
    try:
        part = validation_part(trained.experiment)
    except DataError as error:
        return [f"The loss of score was not measured. {error}"]
    models = TASKS[trained.preparation.task].network.runtime_models(
        trained.network, trained.preparation, trained.experiment
    )
    graphs = {name: describe(model, trained.backend) for name, model in models.items()}
    role = "validation"
    before, name, count = _score(trained, part, graphs, role)
    if np.isnan(before):  # the part holds nothing to find until it is judged like a test part
        role = "test"
        try:
            before, name, count = _score(trained, part, graphs, role)
        except DataError as error:
            return [f"The loss of score was not measured. {error}"]
    after, _, _ = _score(trained, part, {name: rounded(one) for name, one in graphs.items()}, role)
    where = f"{Path(trained.experiment.data.path).name}, {count} examples"
    return [
        f"{name} on the validation part ({where}): {before:.4g} with float32 weights, {after:.4g} "
        "with int8."
    ]


def _score(
    artefact: Artefact, part: Any, graphs: Mapping[str, Graph], role: str
) -> tuple[float, str, int]:
    """The score of the metric that chose the best epoch, its name, and the number of examples."""
    task, preparation, experiment = (
        TASKS[artefact.preparation.task],
        artefact.preparation,
        artefact.experiment,
    )
    examples = task.examples(part, preparation, experiment, role)
    measures = task.measures(examples, preparation, experiment)
    if experiment.training.monitor == "loss":
        measure = measures[0]
    else:
        measure = monitored_measure(measures, experiment)
    networks = {name: Network(one) for name, one in graphs.items()}
    network = networks.get(ALONE, networks)
    outputs = task.outputs.predict(network, examples, preparation, experiment)
    predictions = task.postprocess(outputs, examples, preparation, artefact.baselines)
    value = measure.value(measure.statistics(predictions).sum(axis=0))
    return float(value), measure.name, len(examples)
