"""What an export of `tag` holds: the probabilities of tags, or the scores that a CRF reads."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.vocabulary import PAD, UNKNOWN
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, STEPS, Extension, Port, Program
from gatewise.runtime.graph import Graph
from gatewise.runtime.operations import softmax
from gatewise.settings import Experiment
from gatewise.tasks.tag.crf import BORDERS, CRF
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.tag.task import SYMBOLS, WORD_LENGTH

DISTINCT = "distinct"  # the open axis of the distinct words of a batch


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Words (and their characters) in; probabilities, or emissions for a CRF, out.

    Without padding, the program reads one sentence.
    """
    own, outside, facts = preparation.own, _outside(preparation), dict[str, Any]()
    facts |= {"classes": own.classes, "words": own.words, "characters": own.characters}
    crf = experiment.network.kind == CRF
    if crf:
        graph, table = _emissions(graph)
        facts["transitions"] = table[: len(own.classes) + BORDERS].tolist()
    extension = Extension(graph)
    ports = [steps.tokens_of(extension, "words", padded=padded)]
    if own.characters:
        ports += _spelled(extension) if padded else _spelled_alone(extension)
    (x,) = extension.outputs()
    if not crf:
        cooled = extension.do("divide", x, extension.constant(own.temperature))
        x = extension.do("activation", cooled, activation="softmax")
    answer = Port(
        "emissions" if crf else "probabilities",
        (BATCH, STEPS, len(own.classes)),
        meaning="the score of each tag" if crf else "the probability of each tag",
        columns=own.classes,
    )
    return Program(
        title=f"Tagging with {len(own.classes)} tags.",
        graph=extension.result((x,)),
        inputs=tuple(ports),
        outputs=(answer,),
        right_padded=True,
        outside=(*outside, *([PATH] if crf else [])),
        facts=facts,
    )


def _emissions(graph: Graph) -> tuple[Graph, Array]:
    """The graph without the transitions before the emissions, and these transitions.

    Of several networks, whose outputs are averaged, it is the mean of both.
    """
    tables = {
        one.outputs[0]: np.asarray(one.weights["embeddings"])
        for one in graph.nodes
        if one.operation == "embedding"
    }
    joined = [
        one
        for one in graph.nodes
        if one.operation == "concatenate" and one.config["axis"] == 1 and one.inputs[0] in tables
    ]
    emissions = {one.outputs[0]: one.inputs[1] for one in joined}
    nodes = tuple(
        replace(one, inputs=tuple(emissions.get(name, name) for name in one.inputs))
        for one in graph.nodes
        if one.outputs[0] not in emissions
    )
    outputs = emissions.get(str(graph.outputs), graph.outputs)
    mean: Array = np.stack([tables[one.inputs[0]] for one in joined]).mean(axis=0)
    return replace(graph, nodes=nodes, outputs=outputs), mean


def _spelled(extension: Extension) -> list[Port]:
    """Inputs for the characters of a batch, each distinct word once."""
    ports = [
        Port("places", (BATCH, STEPS), "int64", "the row of each word in `characters`"),
        Port("characters", (DISTINCT, WORD_LENGTH), "int64", "of the distinct words"),
    ]
    for port in ports:
        extension.feed(port.name, extension.do("cast", extension.input(port), dtype="int32"))
    return ports


def _spelled_alone(extension: Extension) -> list[Port]:
    """An input for the characters of one sentence, of each word where it stands."""
    port = Port("characters", (BATCH, STEPS, WORD_LENGTH), "int64", "of each word")
    rows = extension.do("squeeze", extension.input(port), axis=0)
    extension.feed("characters", extension.do("cast", rows, dtype="int32"))
    number = extension.do("cumsum", extension.do("ones_like", "words", dtype="int32"), axis=1)
    one = extension.constant(np.int32(1))
    extension.feed("places", extension.do("subtract", number, one))  # 0, 1, 2 ...
    return [port]


def one_by_one(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs of a batch for a program that reads one sentence: characters of each word."""
    if "places" not in inputs:
        return dict(inputs)
    return {"words": inputs["words"], "characters": inputs["characters"][inputs["places"]]}


PATH = (
    "The score of a path of tags is the sum of its emissions and of its transitions (`transitions` "
    "of export.json): row i scores each tag after tag i, the row before the last each tag at the "
    "beginning, the last row each tag at the end. The tags are those of the path with the highest "
    "score, which the Viterbi algorithm finds."
)


def _outside(preparation: Preparation[Fitted]) -> list[str]:
    own = preparation.own
    found = [
        f"The position of a word is its place in `words` of export.json, as it is written or else "
        f"in lower case, plus {SYMBOLS}; {UNKNOWN} is any other word. At most {own.max_length} "
        "words are read at once."
    ]
    if own.characters:
        found.append(
            f"A row of `characters` spells a word: the places of its characters in `characters` of "
            f"export.json plus {SYMBOLS}, {UNKNOWN} for any other, then {PAD}; of a longer word, "
            f"the first and the last {WORD_LENGTH // 2}."
        )
    return found


def made_up(
    preparation: Preparation[Fitted], lengths: list[int], random: np.random.Generator
) -> dict[str, Array]:
    """Random words, each with characters of its own."""
    own, shape = preparation.own, (len(lengths), max(lengths))
    words = random.integers(1, len(own.words) + SYMBOLS, size=shape)
    words[np.arange(shape[1]) >= np.array(lengths)[:, None]] = PAD
    if not own.characters:
        return {"words": words}
    size = (words.size, WORD_LENGTH)
    characters = random.integers(1, len(own.characters) + SYMBOLS, size=size)
    ends = random.integers(1, WORD_LENGTH + 1, size=words.size)
    characters[np.arange(WORD_LENGTH) >= ends[:, None]] = PAD
    places = np.arange(words.size).reshape(shape)
    return {"words": words, "places": places, "characters": characters}


def answers(
    network: Any, inputs: Mapping[str, Array], preparation: Preparation[Fitted]
) -> tuple[Array, ...]:
    """What the run answers, [batch, steps, tags]."""
    given = {name: one.astype(np.int32) for name, one in inputs.items()}
    outputs = network.predict_on_batch(given if len(given) > 1 else given["words"])
    logits = np.asarray(outputs, np.float64)
    if logits.shape[1] > given["words"].shape[1]:
        return (logits[:, len(preparation.own.classes) + BORDERS :],)
    return (softmax(logits / preparation.own.temperature),)
