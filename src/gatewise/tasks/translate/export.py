"""What an export of `translate` holds: the encoder, and a step of the decoder for one hypothesis.

The step is that of the run's own search with one beam, without its choice of tokens. search.py,
which exports carry, makes a search with any number of beams of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, from_arrays
from gatewise.data.tokens import padded_tokens
from gatewise.data.vocabulary import BEGIN, END, PAD, SPECIAL, UNKNOWN
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, STEPS, Extension, Port, Program
from gatewise.runtime.graph import Graph, names_in, pruned
from gatewise.runtime.operations import log_softmax
from gatewise.settings import Experiment
from gatewise.tasks.translate import search
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.outputs import ENCODER, STEP, beams_of, rules_of
from gatewise.tasks.translate.task import SIDES, TASK

SEARCH = """
import json
from pathlib import Path
import numpy as np
from search import Rules, beam_search, longest, step_of  # search.py of this folder
facts = json.loads(Path("export.json").read_text(encoding="utf-8"))
source = np.array([[7, 5, 9], [8, 6, 0]])  # the tokens of two texts
most = longest(source, facts["max_length_ratio"])
rules = Rules(max_length=most, **facts["search"])  # with beams = 1, the search is greedy
found = beam_search(step_of(encoder, step, source, rules), len(source), rules)
tokens = [one.tokens.tolist() for one in found]
"""
IN_C = """
cc -std=c99 -O3 main.c encoder.c step.c -lm -o main     (-march=native: faster, for this machine)
cc -std=c99 -O3 -DGW_SELF_TEST step.c -lm -o test && ./test     (encoder.c likewise)

The second line tests a stored text. This main.c reads the tokens of a text from standard input,
and writes those of its translation, by greedy search:

    #include <stdio.h>
    #include "encoder.h"
    #include "step.h"

    int main(void) {{
      static gw_encoder_state encoder;
      static gw_step_state step;
      static int source[GW_MAX_STEPS];
      static float keys[GW_MAX_STEPS * {keys}], weights[GW_MAX_STEPS];
      static float {arrays};
      static float next[{tokens}];
      int n = 0, token = {begin};
      while (n < GW_MAX_STEPS && scanf("%d", &source[n]) == 1) n++;
      if (gw_encoder_run(&encoder, source, n, keys, {states})) return 1;
      for (int k = 0; k < {ratio!r} * (n + 5); k++) {{
        /* The states before the token are replaced by those after it. */
        if (gw_step_run(&step, &token, source, keys, {states}, n, next, weights, {states}))
          return 1;
        token = {unknown};
        for (int i = {end}; i < {tokens}; i++)
          if (next[i] > next[token]) token = i;
        if (token == {end}) break;
        printf("%d\\n", token);
      }}
      return 0;
    }}
"""
STATES = ("h", "c")  # of the LSTM layers, side by side
FED = "fed"  # the previous output of the attention, with input feeding
FORCED = 6  # tokens for which log probabilities are compared
IMPOSSIBLE = [PAD, BEGIN]  # they never follow a token, and a search gives them no probability

Run = Callable[[Mapping[str, Array]], Sequence[Array]]  # inputs by name -> outputs in order


def programs(
    graphs: Mapping[str, Graph], preparation: Preparation[Fitted], experiment: Experiment
) -> dict[str, Program]:
    """The encoder and the step, of the graphs of a search with one beam."""
    units = experiment.network.units[-1]
    encoder = _encoder(graphs[ENCODER], preparation, experiment, units)
    return {ENCODER: encoder, STEP: _step(graphs[STEP], encoder, preparation, units)}


def usage_in_c(programs: Mapping[str, Program]) -> str:
    """How to compile and call an export to C: a program that searches greedily."""
    encoder, step = programs[ENCODER], programs[STEP]
    keys, *kept = encoder.outputs
    return IN_C.format(
        keys=keys.shape[-1],
        arrays=", ".join(f"{port.name}[{port.shape[-1]}]" for port in kept),
        states=", ".join(port.name for port in kept),
        tokens=step.outputs[0].shape[-1],
        begin=BEGIN,
        unknown=UNKNOWN,
        end=END,
        ratio=(encoder.facts or {})["max_length_ratio"],
    )


def _encoder(
    graph: Graph, preparation: Preparation[Fitted], experiment: Experiment, units: int
) -> Program:
    own, extension = preparation.own, Extension(graph)
    source = steps.tokens_of(extension, "source", padded=True)
    keys, _mask, *states = extension.outputs()
    joined = _joined(extension, states)
    meaning = "of the decoder before the first token"
    sizes = [f"{len(own.vocabulary(side)):,}" for side in SIDES]
    return Program(
        title=f"Translation from {sizes[0]} to {sizes[1]} tokens. The encoder reads a text once; a "
        "step of the decoder reads a token of the translation and tells the next one.",
        graph=extension.result((keys, *joined.values())),
        inputs=(source,),
        outputs=(
            Port("keys", (BATCH, STEPS, units), meaning="what the attention reads"),
            *(
                Port(name, (BATCH, _width(name, states, units)), meaning=f"state {meaning}")
                for name in joined
            ),
        ),
        right_padded=True,
        outside=_outside(preparation),
        facts=_facts(preparation, experiment),
        files=(Path(search.__file__),),
        after=SEARCH,
    )


def _step(graph: Graph, encoder: Program, preparation: Preparation[Fitted], units: int) -> Program:
    tokens, scores, parents, keys, mask, *states = names_in(graph.inputs)
    best, _places, _ends, weights, *after = names_in(graph.outputs)
    (log_probs,) = graph.node(best).inputs  # of which the best are taken
    extension = Extension(pruned(replace(graph, outputs=[log_probs, weights, *after])))
    do = extension.do
    keys_port, *kept = encoder.outputs
    ports = (
        Port("tokens", (BATCH,), "int64", f"the last token of each translation; {BEGIN} at first"),
        *encoder.inputs,
        keys_port,
        *(replace(port, meaning="state before the token") for port in kept),
    )
    for port in ports:
        extension.input(port)
    last = do("expand_dims", "tokens", axis=1)
    extension.feed(tokens, do("cast", last, dtype="int32"))
    # A single hypothesis continues no other one, and its score is added outside.
    extension.feed(scores, do("zeros_like", last, dtype="float32"))
    extension.feed(parents, do("zeros_like", last, dtype="int32"))
    extension.feed(keys, "keys")
    extension.feed(mask, do("not_equal", "source", extension.constant(PAD)))
    names = [(STATES[k % 2], k // 2) for k in range(len(states) - len(states) % 2)]
    names += [(FED, 0)] * (len(states) % 2)
    for state, (name, place) in zip(states, names, strict=True):
        cut = do("getitem", name, key=["...", [place * units, (place + 1) * units, None]])
        extension.feed(state, do("expand_dims", cut, axis=1))
    log_probs, weights, *after = extension.outputs()
    joined = _joined(extension, [do("squeeze", one, axis=1) for one in after])
    answers = (
        Port(
            "log_probabilities",
            (BATCH, len(preparation.own.vocabulary("target"))),
            meaning="the natural logarithm of the probability of each next token",
        ),
        Port("attention", (BATCH, STEPS), meaning="the weight of each token of the source"),
        *(
            replace(port, name=f"{port.name}_next", meaning="state after the token")
            for port in kept
        ),
    )
    return Program(
        title="give it the keys and the states of the encoder first, then the states of the step "
        "before.",
        graph=extension.result((log_probs, do("squeeze", weights, axis=1), *joined.values())),
        inputs=ports,
        outputs=answers,
        right_padded=True,
    )


def _joined(extension: Extension, states: Sequence[str]) -> dict[str, str]:
    """The states of all layers side by side, and the state of input feeding, if there is one."""
    whole = len(states) - len(states) % 2
    found = {
        name: extension.do("concatenate", *states[k:whole:2], axis=-1)
        for k, name in enumerate(STATES)
    }
    return found | ({FED: states[-1]} if len(states) % 2 else {})


def _width(name: str, states: Sequence[str], units: int) -> int:
    return units if name == FED else len(states) // 2 * units


def _facts(preparation: Preparation[Fitted], experiment: Experiment) -> dict[str, Any]:
    own = preparation.own
    rules = rules_of(np.zeros((1, 1)), own, experiment)
    names = ("beams", "penalty", "vocabulary", "begin", "end")
    return {
        "tokenizers": {side: own.vocabulary(side).content for side in SIDES},
        "max_length_ratio": own.max_length_ratio,
        "search": {name: getattr(rules, name) for name in names},
    }


def _outside(preparation: Preparation[Fitted]) -> tuple[str, ...]:
    """Sentences on tokens and on the search."""
    own = preparation.own
    source, target = (own.vocabulary(side) for side in SIDES)
    limit = f"At most {own.max_length} tokens are read; the {own.truncation} of a longer text is "
    found = [
        f"Tokens are {source.kind}; `tokenizers` of export.json has the tokenizers of both sides, "
        "which Tokenizer.from_str(json.dumps(...)) of the package tokenizers opens. "
        f"{limit}cut off. A text without tokens is the token {UNKNOWN}.",
        f"Greedy search: give the step the token {BEGIN}, then the most likely token each time, "
        f"until that is {END}, or until there are `max_length_ratio` times as many as the tokens "
        "of the text plus 5. The search.py of an export to ONNX or NumPy does this for many texts, "
        "and with any number of beams.",
    ]
    if target.kind != "bpe":
        found.append(
            f"For a token {UNKNOWN}, an unknown word, the run writes the piece of the source that "
            "has the most attention."
        )
    return tuple(found)


# The comparison of an export with the run.


def compared(
    trained: Any, runs: Mapping[str, Run], lengths: Sequence[int], random: np.random.Generator
) -> tuple[dict[str, float], float, list[str]]:
    """The differences of an export, the largest log probability, and what else to know.

    Compared are the log probabilities of the next tokens, for which the network of the run reads
    all tokens at once, and the scores of the search with one beam and with those of the run.

    Args:
        trained: the artefact.
        runs: what runs the exported networks, by name.
        lengths: the tokens of the made-up texts.
        random: the generator that makes them up.
    """
    preparation, experiment = trained.preparation, trained.experiment
    sizes = [len(preparation.own.vocabulary(side)) for side in SIDES]
    texts = from_arrays(
        [random.integers(len(SPECIAL), sizes[0], size=one).astype(np.int32) for one in lengths]
    )
    given = padded_tokens(texts)
    examples = Examples(
        texts,
        np.maximum(lengths, 2),  # as the task makes them
        lambda indices, length: {"source": given(indices, length)["tokens"]},
        lambda *_: None,
    )
    source = examples.inputs(np.arange(len(texts)), max(lengths))["source"].astype(np.int64)
    target = random.integers(len(SPECIAL), sizes[1], size=(len(texts), FORCED))
    target[:, 0] = BEGIN

    def encode(source: Array) -> Sequence[Array]:
        return runs[ENCODER]({"source": source})

    def advance(*arrays: Array) -> Sequence[Array]:
        names = ("tokens", "source", "keys", *STATES, FED)
        return runs[STEP](dict(zip(names, arrays, strict=False)))

    wanted = _forced(trained, source, target)  # [texts, tokens, vocabulary]
    keys, *states = encode(source)
    apart = 0.0
    for k in range(FORCED):
        log_probs, _, *states = advance(target[:, k], source, keys, *states)
        away = np.abs(np.delete(log_probs - wanted[:, k], IMPOSSIBLE, axis=-1))
        apart = max(apart, float(away.max()))
    differences, notes = {"log probabilities": apart}, []
    for beams in sorted({1, beams_of(experiment)}):
        settings = experiment.having("task", beam_size=beams)
        expected = TASK.network.predict(trained.network, examples, preparation, settings)
        rules = rules_of(source, preparation.own, settings)
        found = search.beam_search(
            search.step_of(encode, advance, source, rules), len(source), rules
        )
        pairs = list(zip(found, expected, strict=True))
        name = "greedy search" if beams == 1 else f"search with {beams} beams"
        differences[f"scores of the {name}"] = max(abs(a.score - b.score) for a, b in pairs)
        same = sum(np.array_equal(a.tokens, b.tokens) for a, b in pairs)
        notes.append(f"The {name} gave the tokens of the run for {same} of {len(pairs)} texts.")
    return differences, float(np.abs(wanted).max()), notes


def _forced(trained: Any, source: Array, target: Array) -> Array:
    """The run's log probabilities after each token of the target, [texts, tokens, vocabulary]."""
    network = TASK.network.inference_model(trained.network)
    given = {"source": source.astype(np.int32), "target": target.astype(np.int32)}
    if not trained.experiment.network.input_feeding:
        return _log_probs(network.predict_on_batch(given))
    # The saved network reads one token at a time, and returns the states before the first one.
    names = [name for name in network.input if name not in given]
    shape = (len(source), trained.experiment.network.units[-1])
    states = dict.fromkeys(names, np.zeros(shape, np.float32))
    logits = []
    for k in range(-1, target.shape[1]):
        one = given | {"target": given["target"][:, [max(k, 0)]]}
        outputs = network.predict_on_batch(one | states)
        states = {name: outputs[f"start_{name}" if k < 0 else name] for name in names}
        logits += [] if k < 0 else [np.asarray(outputs["logits"])]
    return _log_probs(np.concatenate(logits, axis=1))


def _log_probs(logits: Any) -> Array:
    found: Array = log_softmax(np.asarray(logits, np.float64))
    return found
