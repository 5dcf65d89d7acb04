"""The outputs of the network of `language`: -log P of each token, and text that continues another.

The state is among the inputs and outputs of the network, and the caller keeps it.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.tokenstream import decode_pieces, encode_prompt, special_tokens
from gatewise.runtime.network import Network
from gatewise.runtime.operations import logsumexp
from gatewise.settings import Experiment
from gatewise.tasks.language.blend import MOST_ORDER, Mixture, mixture_of
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.language.task import Corpus
from gatewise.training.interrupts import checkpoint

log = logging.getLogger("gatewise")

TEXTS = 16  # texts of a batch, at most
CHUNK = 1024  # steps of one forward pass, at most
MAX_LOGITS = 1 << 24  # logits of one forward pass, at most: 64 MiB


def predict(
    network: Network,
    examples: Examples[Corpus],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> Array:
    """-log P of every token, given all tokens before it in its text, [tokens] float64."""

    def score(inputs: dict[str, Array]) -> dict[str, Array]:
        truth = inputs.pop("truth")
        outputs: dict[str, Array] = network(inputs)
        logits = outputs.pop("logits")
        true = np.take_along_axis(logits, truth[..., None], axis=-1)[..., 0]
        return outputs | {"nats": logsumexp(logits, axis=-1) - true}

    return scored(score, examples, network, len(preparation.own.vocabulary))


def scored(
    score: Callable[[dict[str, Array]], dict[str, Array]],
    examples: Examples[Corpus],
    network: Any,
    vocabulary: int,
) -> Array:
    """-log P of every token, given all tokens before it in its text, [tokens] float64.

    `score` reads "tokens", the next tokens as "truth", and the state; it returns "nats" and the
    state after the last step. The state is passed from chunk to chunk, so that chunks limit memory,
    not the context.
    """
    stream = examples.source.stream
    before, lengths = stream.before(), np.diff(stream.texts)
    nll = np.empty(len(stream), dtype=np.float64)
    order = np.argsort(-lengths, kind="stable")
    rows = min(TEXTS, len(order))
    for begin in range(0, len(order), rows):
        # Copies fill the last batch, so that only one shape is compiled.
        batch = np.resize(order[begin : begin + rows], rows)
        starts, stops = stream.texts[batch], stream.texts[batch + 1]
        state = zero_state(network, rows)
        chunk = chunk_of(int(lengths.max()), rows, vocabulary)
        for at in range(0, int(lengths[batch].max()), chunk):
            checkpoint()
            places = starts[:, None] + at + np.arange(chunk)  # [texts, chunk]
            real = places < stops[:, None]
            places = np.where(real, places, 0)  # an empty last text starts behind all tokens
            inputs = {"tokens": before[places], "truth": stream.tokens[places]}
            outputs = score(inputs | state)
            state = {name: outputs[name] for name in state}
            nll[places[real]] = outputs["nats"][real]
    return nll


def zero_state(network: Any, rows: int) -> dict[str, Array]:
    """The state before the first token of each text."""
    if isinstance(network, Network):
        sizes = {name: shape[-1] for name, shape in network.input_shape.items()}
    else:  # keras.Model
        sizes = {name: one.shape[-1] for name, one in network.input.items()}
    states = [name for name in sizes if name not in ("tokens", "truth")]
    return {name: np.zeros((rows, sizes[name]), dtype=np.float32) for name in states}


def chunk_of(longest: int, rows: int, vocabulary: int) -> int:
    """Steps of one forward pass: a power of two, so that few shapes are compiled."""
    most = min(CHUNK, max(1, MAX_LOGITS // (rows * vocabulary)))
    return int(min(1 << int(math.log2(most)), 1 << math.ceil(math.log2(max(1, longest)))))


def continued(
    network: Any,
    tokens: Array,
    *,
    forbidden: Array,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
    mixture: Mixture | None = None,
) -> Iterator[int]:
    """An endless iterator of tokens sampled after `tokens`.

    Args:
        network: a model from `inference_model` in network.py, or a runtime network of it.
        tokens: the token before the text, and its prompt, [tokens]; at least one token.
        forbidden: tokens that are never sampled.
        temperature: the divisor of the logits; 0 chooses the most likely token.
        top_k: sample from this many of the most likely tokens; 0: from all.
        seed: the same seed gives the same tokens.
        mixture: the n-grams that are blended in.
    """
    state, text = zero_state(network, 1), [int(token) for token in tokens[1:]]

    def step(token: int) -> Array:
        inputs = {"tokens": np.array([[token]], dtype=np.int32)} | state
        outputs = network.predict_on_batch(inputs)
        state.update({name: outputs[name] for name in state})
        logits: Array = outputs["logits"][0, -1]
        return logits

    for token in tokens:
        logits = step(int(token))
    yield from sampled(
        logits,
        step,
        forbidden=forbidden,
        temperature=temperature,
        top_k=top_k,
        random=np.random.default_rng(seed),
        text=text,
        mixture=mixture,
    )


def sampled(
    logits: Array,
    step: Callable[[int], Array],
    *,
    forbidden: Array,
    temperature: float,
    top_k: int,
    random: np.random.Generator,
    text: list[int],
    mixture: Mixture | None,
) -> Iterator[int]:
    """An endless iterator of tokens after `text`, the first by these logits [vocabulary].

    `step` returns the logits after one more token. Only the last tokens of `text` are read.
    """
    while True:
        checkpoint()
        logits = np.asarray(logits).astype(np.float64)
        if mixture is not None:
            logits = mixture.logits(logits, text)
        logits[forbidden] = -np.inf
        token = _sample(logits, temperature, top_k, random)
        yield token
        text = [*text, token][-MOST_ORDER:]
        logits = step(token)


def _sample(logits: Array, temperature: float, top_k: int, random: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k and top_k < len(logits):
        least = np.partition(logits, -top_k)[-top_k]
        logits = np.where(logits >= least, logits, -np.inf)
    probabilities = np.exp((logits - logits.max()) / temperature)
    return int(random.choice(len(probabilities), p=probabilities / probabilities.sum()))


def generate(
    network: Any,
    preparation: Preparation[Fitted],
    prompt: str,
    *,
    length: int,
    temperature: float,
    top_k: int,
    seed: int | None,
    state: Mapping[str, Any],
) -> Iterator[str]:
    """An iterator of `length` tokens of text that continue a prompt; see `continued`.

    `state` is that of the baselines, which may be blended in.
    """
    vocabulary = preparation.own.vocabulary
    tokens, unknown = encode_prompt(prompt, vocabulary)
    if unknown:
        kind = "characters" if vocabulary.kind == "characters" else "words"
        how = "left out" if kind == "characters" else "read as the unknown token"
        names = ", ".join(map(repr, unknown[:10]))
        log.warning("The prompt has %s that the model does not know, %s: %s.", kind, how, names)
    drawn = continued(
        network,
        tokens,
        forbidden=special_tokens(vocabulary),
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        mixture=mixture_of(state, preparation),
    )
    begun = bool(prompt) and not prompt[-1].isspace()
    return decode_pieces(islice(drawn, length), vocabulary, begun=begun)
