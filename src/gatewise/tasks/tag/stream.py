"""How `tag` answers a stream: the tag of each token when it comes."""

from collections.abc import Mapping
from typing import Any

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.readers.conll import TOKEN
from gatewise.settings import Experiment
from gatewise.streaming.plan import Plan
from gatewise.tasks.tag import crf
from gatewise.tasks.tag.details import Tagged
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.tag.task import postprocess


def plan(
    preparation: Preparation[Fitted], experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """The tokens so far, or those of a window if later ones would change the tags."""
    chained = experiment.network.kind == crf.CRF
    return Plan(
        preparation=preparation,
        columns=(TOKEN,),
        per_step=True,
        partial=True,
        hidden=("position",),
        restart=preparation.own.max_length,  # as it reads long sentences in pieces
        free=("characters",) if preparation.own.characters else (),
        places="places" if preparation.own.characters else "",
        inputs=_inputs,
        postprocess=_tagged,
        whole="its CRF chooses the tags of a sentence together" if chained else "",
        cure="Or train with task.streaming = true, which reads forwards and has no CRF.",
    )


def _inputs(given: Mapping[str, Array], real: Array) -> dict[str, Array]:
    """The words [steps] of one sentence and how each is spelled [steps, letters]."""
    words = {"words": given["words"][real]}
    if "characters" not in given:
        return words
    return words | {"characters": given["characters"][given["places"][real]]}


def _tagged(
    outputs: Any,
    examples: Examples[Any],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Tagged:
    """The tags of steps by their logits [steps, tags]."""
    scores = crf.Scores(outputs, None)
    return postprocess(scores, examples, preparation, state)
