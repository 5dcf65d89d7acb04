"""The network that translates: a bidirectional encoder, attention, and a decoder over whole texts.

A first decoder LSTM reads the translation so far; attention looks from its outputs at the source;
what it saw goes into the LSTM above (as in GNMT, Wu et al. 2016). All layers read whole sequences,
so that teaching needs no loop over steps; the search asks the same layers step by step.
"""

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.vocabulary import BEGIN, END, PAD
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import EMBEDDING, LSTM, both_ways, one_way
from gatewise.networks.predicting import batches_of
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.translate.search import NEVER, Rules, Step, beam_search
from gatewise.tasks.translate.task import BEAMS, Hypothesis

Look = Callable[[Any], tuple[Any, Any]]  # x -> what was seen, and the weights
Run = Callable[[Any, Any, list[Any]], tuple[Any, list[Any]]]  # layer, x, state -> x, state


@dataclass(frozen=True)
class Pieces:
    """The layers, made anew or found in a network."""

    layer: Callable[[str, Callable[[], Any]], Any]  # name, how it would be made
    settings: NetworkSettings
    shapes: Shapes

    @property
    def units(self) -> tuple[int, ...]:
        """Sizes of the encoder's layers."""
        return self.settings.units

    @property
    def above(self) -> tuple[int, ...]:
        """Sizes of the decoder's layers: those of the encoder, but two at least."""
        return self.units if len(self.units) > 1 else self.units * 2

    @property
    def embedding(self) -> int:
        """Numbers for each token."""
        return self.settings.embedding_dim


def translator(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """`source` and `target` [batch, steps] int32 -> logits [batch, steps of target, vocabulary].

    The target is what stands before each step: it begins with [begin].

    Raises:
        ConfigError: a number of units is odd, or layers do not fit each other.
    """
    _refuse(settings)
    made: dict[str, Any] = {}

    def layer(name: str, make: Callable[[], Any]) -> Any:
        return made.setdefault(name, make()) if name not in made else made[name]

    pieces = Pieces(layer, settings, shapes)
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    keys, mask, states = encode(pieces, source)
    if settings.input_feeding:
        return Fed(_one_step(pieces, source, keys, mask, states), pieces)
    x = _embedded(pieces, target, "target")
    x, _, _ = decode(pieces, x, states, lambda x: attend(pieces, x, keys, mask), _whole)
    given = {"source": source, "target": target}
    return keras.Model(given, answer(pieces, x, target), name="translator")


def _refuse(settings: NetworkSettings) -> None:
    odd = [size for size in settings.units if size % 2]
    if odd:
        raise ConfigError(
            f"network.units holds {odd[0]}; a translator's are even, as half of them read forwards "
            "and half backwards."
        )
    if len(set(settings.units)) > 1:
        raise ConfigError(
            "network.units of a translator are all the same, for the decoder starts where the "
            f"encoder ended. Received: {list(settings.units)}."
        )
    if settings.input_feeding and settings.recurrent_dropout:
        raise ConfigError("network.recurrent_dropout needs network.input_feeding = false.")


def _dropped(pieces: Pieces, x: Any, name: str, share: float) -> Any:
    return pieces.layer(name, lambda: layers.Dropout(share, name=name))(x) if share > 0 else x


def _lstm(pieces: Pieces, units: int, name: str) -> Any:
    return one_way(units, pieces.settings, name=name, sequences=True, state=True)


def _both_ways(pieces: Pieces, units: int, name: str) -> Any:
    return both_ways(_lstm(pieces, units // 2, f"{name}_one_way"), name)


def _embedded(pieces: Pieces, tokens: Any, side: str) -> Any:
    """Tokens as vectors, [batch, steps, embedding]; dropout takes whole places of them."""
    shapes, size = pieces.shapes, pieces.embedding
    count = shapes.vocabulary if side == "source" else shapes.output[-1]
    name = "embedding" if shapes.shared else f"{side}_embedding"

    def make() -> Any:
        # As long as 1, so that logits read off them differ from the first step on.
        first = keras.initializers.RandomNormal(stddev=size**-0.5)
        return layers.Embedding(count, size, embeddings_initializer=first, name=name)

    return pieces.layer(name, make)(tokens)


def encode(pieces: Pieces, source: Any) -> tuple[Any, Any, list[list[Any]]]:
    """What attention can look at [batch, source, units], where it may, and the states at the end.

    The state of layer k, h and c [batch, units], is where the decoder's layer k begins. Where the
    decoder is fed what it saw, that is one state more, zero at first.
    """
    mask = ops.not_equal(source, PAD)
    x = _embedded(pieces, source, "source")
    x = _dropped(pieces, x, "source_dropout", pieces.settings.embedding_dropout)
    states = []
    for number, units in enumerate(pieces.units, 1):
        name = f"encoder_{number}"

        both = pieces.layer(name, functools.partial(_both_ways, pieces, units, name))
        x, h, c, h_back, c_back = both(x, mask=mask)
        states.append([ops.concatenate([h, h_back], -1), ops.concatenate([c, c_back], -1)])
    more = len(pieces.above) - len(states)
    fed = [[ops.zeros_like(states[-1][0])]] if pieces.settings.input_feeding else []
    return x, mask, [*states, *[states[-1]] * more, *fed]


def decode(
    pieces: Pieces, x: Any, states: list[list[Any]], look: Look, run: Run
) -> tuple[Any, list[list[Any]], Any]:
    """What is known at each step [batch, steps, embedding], the states after it, where it looked.

    `x` is the target as vectors, [batch, steps, embedding].
    """
    x = _dropped(pieces, x, "target_dropout", pieces.settings.embedding_dropout)
    if pieces.settings.input_feeding:
        seen, after, looked = _fed_step(pieces, x, states, look, run)
        return _written(pieces, seen), after, looked
    after = []
    seen = looked = None
    for number, (units, state) in enumerate(zip(pieces.above, states, strict=True), 1):
        name = f"decoder_{number}"
        lstm = pieces.layer(name, functools.partial(_lstm, pieces, units, name))
        x, state = run(lstm, x, state)
        after.append(state)
        if number == 1:
            seen, looked = look(x)
            x = seen
    return _written(pieces, ops.concatenate([x, seen], axis=-1)), after, looked


def _written(pieces: Pieces, x: Any) -> Any:
    """What the answer is read off, [batch, steps, embedding]."""
    x = _dense(pieces, "output", pieces.embedding, "tanh")(x)
    return _dropped(pieces, x, "output_dropout", pieces.settings.dense_dropout)


def _fed_step(
    pieces: Pieces, x: Any, states: list[list[Any]], look: Look, run: Run
) -> tuple[Any, list[list[Any]], Any]:
    """One step of a decoder that reads each token beside what it saw before (Luong et al. 2015).

    x [batch, 1, embedding], or [batch, beams, embedding] with as many steps beside each other.
    """
    *below, [fed] = states
    x, after = ops.concatenate([x, fed], axis=-1), []
    for number, (units, state) in enumerate(zip(pieces.above, below, strict=True), 1):
        name = f"decoder_{number}"
        lstm = pieces.layer(name, functools.partial(_lstm, pieces, units, name))
        x, state = run(lstm, x, state)
        after.append(state)
    seen, looked = look(x)
    return seen, [*after, [seen]], looked


def _whole(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
    """All steps of x [batch, steps, features] at once."""
    y, *after = lstm(x, initial_state=state)
    return y, after


def _dense(pieces: Pieces, name: str, units: int, activation: str | None, bias: bool = True) -> Any:
    def make() -> Any:
        return layers.Dense(units, activation=activation, use_bias=bias, name=name)

    return pieces.layer(name, make)


def attend(pieces: Pieces, x: Any, keys: Any, mask: Any) -> tuple[Any, Any]:
    """Luong et al. 2015, "general": what was looked at, beside what looked; and the weights.

    x [batch, steps, units], keys [batch, source, units] -> [batch, steps, units] and
    [batch, steps, source].
    """
    units = pieces.units[-1]
    query = _dense(pieces, "query", units, None, bias=False)(x)
    scores = ops.matmul(query, ops.transpose(keys, (0, 2, 1)))
    weights = ops.softmax(ops.where(ops.expand_dims(mask, 1), scores, NEVER), axis=-1)
    found = ops.matmul(weights, keys)
    seen = _dense(pieces, "attention", units, "tanh")(ops.concatenate([found, x], axis=-1))
    return seen, weights


def answer(pieces: Pieces, x: Any, tokens: Any) -> Any:
    """A logit for each token: where they are tied, by the vectors of the target's tokens.

    Press & Wolf 2017. `tokens` are any: with them the embedding is asked for its whole table.
    """
    size = pieces.shapes.output[-1]
    if not pieces.settings.tied_embeddings:
        return _dense(pieces, "logits", size, None)(x)
    ones = ops.repeat(ops.ones_like(tokens[:1, :1]), size, axis=1)
    every = ops.cumsum(ones, axis=1) - 1  # [1, vocabulary]: 0, 1, 2 ...
    return ops.matmul(x, ops.transpose(_embedded(pieces, every, "target")[0]))


# Input feeding.


def _one_step(
    pieces: Pieces, source: Any, keys: Any, mask: Any, states: list[list[Any]]
) -> keras.Model:
    """The network that is saved where the decoder is fed what it saw: one step of it.

    Inputs: source; target [batch, 1], the last token; fed and h_1, c_1, h_2 ... [batch, units].
    Outputs: logits [batch, 1, vocabulary], fed, h_1 ... after the step, and the same as start_fed,
    start_h_1 ... for the first step.
    """
    target = keras.Input((1,), dtype="int32", name="target")
    names = [f"{one}_{k}" for k in range(1, len(states)) for one in "hc"] + ["fed"]
    given = {name: keras.Input((pieces.units[-1],), name=name) for name in names}
    *flat, last = given.values()
    before = [[h, c] for h, c in zip(flat[::2], flat[1::2], strict=True)] + [[last[:, None]]]
    x = _embedded(pieces, target, "target")
    x, after, _ = decode(pieces, x, before, lambda x: attend(pieces, x, keys, mask), _whole)
    after = [*after[:-1], [after[-1][0][:, 0]]]
    said = {"logits": answer(pieces, x, target)}
    said |= dict(zip(names, (one for state in after for one in state), strict=True))
    begun = (one for state in states for one in state)
    said |= {f"start_{name}": one for name, one in zip(names, begun, strict=True)}
    return keras.Model({"source": source, "target": target, **given}, said, name="translator")


class Fed(keras.Model):  # type: ignore[misc]  # Keras is untyped
    """Teaches the layers of `plain`, one step of the decoder after another.

    In the steps no random number is drawn: the dropout masks of the decoder are drawn before them,
    one for all steps, as `keras.layers.LSTM` does.
    """

    def __init__(self, plain: keras.Model, pieces: Pieces) -> None:
        super().__init__(name="fed_translator")
        self.plain = plain
        self.pieces = pieces
        names = [f"decoder_{number}" for number in range(1, len(pieces.above) + 1)]
        self.drops = [
            layers.Dropout(pieces.settings.dropout, name=f"{name}_dropout") for name in names
        ]
        self({name: ops.ones((1, 2), dtype="int32") for name in ("source", "target")})

    def call(self, inputs: Any) -> Any:
        """`source` and `target` [batch, steps] -> logits, as `translator` says."""
        pieces = self.pieces
        keys, mask, states = encode(pieces, inputs["source"])
        x = _embedded(pieces, inputs["target"], "target")
        x = _dropped(pieces, x, "target_dropout", pieces.settings.embedding_dropout)
        *below, [fed] = states
        widths = [x.shape[-1] + pieces.units[-1], *pieces.above[1:]]
        masks = {
            f"decoder_{number}": drop(ops.ones((*ops.shape(x)[:1], width)))
            for number, (drop, width) in enumerate(zip(self.drops, widths, strict=True), 1)
        }

        def run(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
            y, after = lstm.cell(x[:, 0] * masks[lstm.name], state, training=False)
            return y[:, None], after

        def step(states: Any, x: Any) -> tuple[Any, Any]:
            seen, after, _ = _fed_step(
                pieces, x[:, None], states, lambda x: attend(pieces, x, keys, mask), run
            )
            return after, seen[:, 0]

        first = [*below, [fed[:, None]]]
        _, seen = ops.scan(step, first, ops.transpose(x, (1, 0, 2)))
        written = _written(pieces, ops.transpose(seen, (1, 0, 2)))
        return answer(pieces, written, inputs["target"])


def kept(network: keras.Model) -> keras.Model:
    """The network of Keras's own layers that is saved."""
    return network.plain if isinstance(network, Fed) else network


# The same layers, asked by the search.


@dataclass(frozen=True)
class Asked:
    """A trained network in two models, compiled once for each shape."""

    encoder: keras.Model  # source -> keys, mask, states
    step: keras.Model  # see `_step`
    vocabulary: int


def asked(
    network: keras.Model, preparation: Preparation, settings: NetworkSettings, *, beams: int
) -> Asked:
    """The layers of a trained network in two models: what is done once a text, and once a step."""
    vocabularies = preparation.vocabularies
    target = vocabularies.get("target", vocabularies["source"])
    shapes = Shapes(
        inputs={"source": (None,), "target": (None,)},
        output=(len(target),),
        vocabulary=len(vocabularies["source"]),
        shared="target" not in vocabularies,
    )
    names = {one.name: one for one in kept(network).layers}
    # Dropout does nothing to an answer.
    still = replace(settings, embedding_dropout=0.0, dense_dropout=0.0)
    pieces = Pieces(lambda name, _make: names[name], still, shapes)
    source = keras.Input((None,), dtype="int32", name="source")
    encoder = keras.Model(source, encode(pieces, source))
    return Asked(encoder, _step(pieces, beams), len(target))


def _step(pieces: Pieces, beams: int) -> keras.Model:
    """What follows the tokens so far, for each of the beams of each text.

    Inputs, in this order: tokens [batch, beams] int32, the last of each; scores [batch, beams],
    their log probabilities; parents [batch, beams] int32, which of the states goes on in each; keys
    and mask as `encode` says; h and c of each layer, [batch, beams, units].
    Outputs: the best scores [batch, 2 beams] and their places, beam * vocabulary + token; scores
    [batch, beams] of an end now; the weights of the source, [batch, beams, source]; the states.
    """
    units, size = pieces.units[-1], pieces.shapes.output[-1]
    tokens = keras.Input((beams,), dtype="int32", name="tokens")
    scores = keras.Input((beams,), name="scores")
    parents = keras.Input((beams,), dtype="int32", name="parents")
    keys = keras.Input((None, units), name="keys")
    mask = keras.Input((None,), dtype="bool", name="mask")
    states = [[keras.Input((beams, units)) for _ in range(2)] for _ in pieces.above]
    if pieces.settings.input_feeding:
        states.append([keras.Input((beams, units))])
    went_on = [
        [ops.take_along_axis(one, parents[..., None], axis=1) for one in state] for state in states
    ]

    def run(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """One step of all beams, each of them a sequence of its own to the layer."""
        before = [ops.reshape(one, (-1, units)) for one in state]
        _, *after = lstm(ops.reshape(x, (-1, 1, x.shape[-1])), initial_state=before)
        h, c = (ops.reshape(one, (-1, beams, units)) for one in after)
        return h, [h, c]

    # Attention sees the beams of a text as steps.
    x = _embedded(pieces, tokens, "target")
    x, after, looked = decode(pieces, x, went_on, lambda x: attend(pieces, x, keys, mask), run)
    chances = ops.log_softmax(answer(pieces, x, tokens), axis=-1)
    ends = scores + chances[..., END]
    # No text holds padding or a second beginning.
    impossible = ops.one_hot(PAD, size) + ops.one_hot(BEGIN, size)
    chances = scores[..., None] + chances + NEVER * impossible
    best, places = ops.top_k(ops.reshape(chances, (-1, beams * size)), min(2 * beams, beams * size))
    return keras.Model(
        [tokens, scores, parents, keys, mask, *(one for state in states for one in state)],
        [best, places, ends, looked, *(one for state in after for one in state)],
    )


# What is minimised.


def objective(experiment: Experiment, _preparation: Preparation) -> tuple[Any, list[Any]]:
    """Cross entropy a token, with label smoothing, and perplexity without it."""
    return token_loss(experiment.training.label_smoothing), [Perplexity()]


def token_loss(smoothing: float) -> Any:
    """Cross entropy a token of the batch; padding does not count.

    With smoothing (Szegedy et al. 2016) that share of the truth is spread over all tokens alike.
    """

    def loss(truth: Any, logits: Any) -> Any:
        real = ops.cast(ops.not_equal(truth, PAD), logits.dtype)  # [batch, steps]
        whole = ops.logsumexp(logits, axis=-1)
        right = ops.take_along_axis(logits, ops.cast(truth, "int32")[..., None], axis=-1)[..., 0]
        value = whole - (1 - smoothing) * right
        if smoothing:
            value = value - smoothing * ops.mean(logits, axis=-1)
        # Each text's share of the batch's mean, so that long texts weigh by their tokens.
        texts = ops.cast(ops.shape(truth)[0], logits.dtype)
        return ops.sum(value * real, axis=1) * texts / ops.sum(real)

    return loss


class Perplexity(keras.metrics.Metric):  # type: ignore[misc]  # Keras is untyped
    """exp of the mean surprise a token, over all tokens so far but padding."""

    def __init__(self, name: str = "perplexity", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.surprise = self.add_weight(name="surprise", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the tokens of a batch: y_true [batch, steps], y_pred logits."""
        real = ops.cast(ops.not_equal(y_true, PAD), y_pred.dtype)
        right = ops.take_along_axis(y_pred, ops.cast(y_true, "int32")[..., None], axis=-1)[..., 0]
        surprise = (ops.logsumexp(y_pred, axis=-1) - right) * real
        self.surprise.assign(self.surprise + ops.sum(surprise))
        self.count.assign(self.count + ops.sum(real))

    def result(self) -> Any:
        """Perplexity so far."""
        return ops.exp(self.surprise / ops.maximum(self.count, 1.0))


BATCH = 64  # texts that are searched for side by side
STEPS = 4_096  # of source in such a batch at most


def search(
    network: keras.Model, some: Examples, preparation: Preparation, experiment: Experiment
) -> list[Hypothesis]:
    """The best translation of every example that the search finds, in their order.

    Texts of like length are searched for together; the last batch of a length is filled up with
    copies, so that each length is compiled once.
    """
    # Settings of a run that was saved before beams were filled in have none.
    beams = experiment.task.beam_size or BEAMS
    parts = _asked(network, preparation, experiment, beams)
    found: list[Any] = [None] * len(some)
    for which, inputs in batches_of(some, BATCH, padded=True, steps=STEPS):
        source = inputs["source"]
        tokens = (source != PAD).sum(axis=1)
        longest = np.maximum(1, np.ceil(preparation.max_length_ratio * (tokens + 5)))
        rules = Rules(beams, longest, experiment.task.length_penalty, parts.vocabulary)
        best = beam_search(_stepper(parts, source, beams), len(source), rules)
        for k, one, real in zip(which, best, tokens, strict=False):
            found[k] = Hypothesis(one.tokens, one.score, one.attention[:, :real])
    return found


_KNOWN: weakref.WeakKeyDictionary[keras.Model, dict[int, Asked]] = weakref.WeakKeyDictionary()


def _asked(
    network: keras.Model, preparation: Preparation, experiment: Experiment, beams: int
) -> Asked:
    """The models that the search asks, compiled once for one network."""
    known = _KNOWN.setdefault(network, {})
    if beams not in known:
        known[beams] = asked(network, preparation, experiment.network, beams=beams)
    return known[beams]


def _stepper(parts: Asked, source: Array, beams: int) -> Step:
    """Encode the source [batch, steps]; what is given back keeps the states from step to step."""
    keys, mask, states = parts.encoder.predict_on_batch(source)
    flat = [np.repeat(one[:, None], beams, axis=1) for state in states for one in state]
    kept = [keys, mask, flat]

    def step(tokens: Array, scores: Array, parents: Array) -> tuple[Array, Array, Array, Array]:
        given = [tokens, scores, parents, kept[0], kept[1], *kept[2]]
        best, places, ends, looked, *after = parts.step.predict_on_batch(given)
        kept[2] = after
        return best, places, ends, looked

    return step


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return (
        LSTM
        | EMBEDDING
        | names(network="bidirectional dense_dropout tied_embeddings input_feeding")
    )


NETWORK = Network(
    {"": translator},
    objective,
    settings_of,
    search,
    inference_model=kept,
    own_refused="its search asks the layers of its own one step by step",
)
