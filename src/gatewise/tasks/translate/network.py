"""The translation network: a bidirectional encoder, attention and a decoder.

The first decoder LSTM reads the translation so far. Its outputs are the queries of the attention
over the source, and the attention outputs are the input of the next LSTM (as in GNMT, Wu et al.
2016). All layers read whole sequences, so training needs no loop over steps. The beam search runs
the same layers step by step.
"""

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.data.vocabulary import BEGIN, END, PAD
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import EMBEDDING, LSTM, both_ways, one_way
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.outputs import ENCODER, STEP, beams_of, predict
from gatewise.tasks.translate.search import NEG_INF, Hypothesis
from gatewise.tasks.translate.task import shapes_of

Attend = Callable[[Any], tuple[Any, Any]]  # x -> attention output, attention weights
Run = Callable[[Any, Any, list[Any]], tuple[Any, list[Any]]]  # layer, x, state -> x, state


@dataclass(frozen=True)
class Pieces:
    """The layers of a translator, new or from a trained network."""

    layer: Callable[[str, Callable[[], Any]], Any]  # name, function that makes a new one
    settings: NetworkSettings
    shapes: Shapes

    @property
    def units(self) -> tuple[int, ...]:
        """Units of the encoder layers."""
        return self.settings.units

    @property
    def decoder_units(self) -> tuple[int, ...]:
        """Units of the decoder layers: those of the encoder, but at least two layers."""
        return self.units if len(self.units) > 1 else self.units * 2

    @property
    def embedding(self) -> int:
        """Size of the embedding."""
        return self.settings.embedding_dim


def translator(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """`source` and `target` [batch, steps] int32 -> logits [batch, steps of target, vocabulary].

    The target input is shifted by one step: it starts with [begin] (teacher forcing).

    Raises:
        ConfigError: units are odd, or differ between layers.
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
        return InputFeeding(_single_step(pieces, source, keys, mask, states), pieces)
    x = _embedded(pieces, target, "target")
    x, _, _ = decode(pieces, x, states, lambda x: attend(pieces, x, keys, mask), _all_steps)
    inputs = {"source": source, "target": target}
    return keras.Model(inputs, logits_of(pieces, x, target), name="translator")


def _refuse(settings: NetworkSettings) -> None:
    odd = [size for size in settings.units if size % 2]
    if odd:
        raise ConfigError(
            f"network.units holds {odd[0]}. In translate they must be even, because half of "
            "them read forwards and half backwards."
        )
    if len(set(settings.units)) > 1:
        raise ConfigError(
            "network.units in translate must all be the same, because the decoder starts from the "
            f"final states of the encoder. Received: {list(settings.units)}."
        )
    for name in ("recurrent_dropout", "weight_dropout", "zoneout"):
        if settings.input_feeding and getattr(settings, name):
            raise ConfigError(f"network.{name} needs network.input_feeding = false.")


def _dropout(pieces: Pieces, x: Any, name: str, rate: float) -> Any:
    return pieces.layer(name, lambda: layers.Dropout(rate, name=name))(x) if rate > 0 else x


def _lstm(pieces: Pieces, units: int, name: str) -> Any:
    return one_way(units, pieces.settings, name=name, sequences=True, state=True)


def _both_ways(pieces: Pieces, units: int, name: str) -> Any:
    return both_ways(_lstm(pieces, units // 2, f"{name}_one_way"), name)


def _embedded(pieces: Pieces, tokens: Any, side: str) -> Any:
    """The embeddings of tokens, [batch, steps, embedding]."""
    shapes, size = pieces.shapes, pieces.embedding
    shared = "target" not in shapes.vocabulary
    count = shapes.vocabulary["source" if shared else side]
    name = "embedding" if shared else f"{side}_embedding"

    def make() -> Any:
        # Vectors of norm 1, so that tied logits differ from the first step on.
        initializer = keras.initializers.RandomNormal(stddev=size**-0.5)
        return layers.Embedding(count, size, embeddings_initializer=initializer, name=name)

    return pieces.layer(name, make)(tokens)


def encode(pieces: Pieces, source: Any) -> tuple[Any, Any, list[list[Any]]]:
    """The keys of the attention [batch, source, units], their mask, and the final states.

    The final state of encoder layer k, h and c [batch, units], is the initial state of decoder
    layer k. With input feeding the previous attention output is one more state, zero at first.
    """
    mask = ops.not_equal(source, PAD)
    x = _embedded(pieces, source, "source")
    x = _dropout(pieces, x, "source_dropout", pieces.settings.embedding_dropout)
    states = []
    for number, units in enumerate(pieces.units, 1):
        name = f"encoder_{number}"

        both = pieces.layer(name, functools.partial(_both_ways, pieces, units, name))
        x, h, c, h_back, c_back = both(x, mask=mask)
        states.append([ops.concatenate([h, h_back], -1), ops.concatenate([c, c_back], -1)])
    missing = len(pieces.decoder_units) - len(states)
    fed = [[ops.zeros_like(states[-1][0])]] if pieces.settings.input_feeding else []
    return x, mask, [*states, *[states[-1]] * missing, *fed]


def decode(
    pieces: Pieces, x: Any, states: list[list[Any]], attention: Attend, run: Run
) -> tuple[Any, list[list[Any]], Any]:
    """The outputs [batch, steps, embedding], the states after the last step, and attention weights.

    `x` is the embedded target, [batch, steps, embedding].
    """
    x = _dropout(pieces, x, "target_dropout", pieces.settings.embedding_dropout)
    if pieces.settings.input_feeding:
        context, after, weights = _fed_step(pieces, x, states, attention, run)
        return _output(pieces, context), after, weights
    after = []
    context = weights = None
    for number, (units, state) in enumerate(zip(pieces.decoder_units, states, strict=True), 1):
        x, state = run(_decoder_layer(pieces, number, units), x, state)
        after.append(state)
        if number == 1:
            context, weights = attention(x)
            x = context
    return _output(pieces, ops.concatenate([x, context], axis=-1)), after, weights


def _decoder_layer(pieces: Pieces, number: int, units: int) -> Any:
    name = f"decoder_{number}"
    return pieces.layer(name, functools.partial(_lstm, pieces, units, name))


def _output(pieces: Pieces, x: Any) -> Any:
    """The outputs from which the logits are computed, [batch, steps, embedding]."""
    x = _dense(pieces, "output", pieces.embedding, "tanh")(x)
    return _dropout(pieces, x, "output_dropout", pieces.settings.dense_dropout)


def _fed_step(
    pieces: Pieces, x: Any, states: list[list[Any]], attention: Attend, run: Run
) -> tuple[Any, list[list[Any]], Any]:
    """One step of a decoder with input feeding (Luong et al. 2015).

    It reads each token together with the previous attention output. x is [batch, 1, embedding], or
    [batch, beams, embedding] for one step of each beam.
    """
    *below, [fed] = states
    x, after = ops.concatenate([x, fed], axis=-1), []
    for number, (units, state) in enumerate(zip(pieces.decoder_units, below, strict=True), 1):
        x, state = run(_decoder_layer(pieces, number, units), x, state)
        after.append(state)
    context, weights = attention(x)
    return context, [*after, [context]], weights


def _all_steps(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
    """Run an LSTM over all steps of x [batch, steps, features]."""
    y, *after = lstm(x, initial_state=state)
    return y, after


def _dense(pieces: Pieces, name: str, units: int, activation: str | None, bias: bool = True) -> Any:
    def make() -> Any:
        return layers.Dense(units, activation=activation, use_bias=bias, name=name)

    return pieces.layer(name, make)


def attend(pieces: Pieces, x: Any, keys: Any, mask: Any) -> tuple[Any, Any]:
    """The "general" attention of Luong et al. 2015: the attention output, and the weights.

    x [batch, steps, units], keys [batch, source, units] -> [batch, steps, units] and
    [batch, steps, source].
    """
    units = pieces.units[-1]
    query = _dense(pieces, "query", units, None, bias=False)(x)
    scores = ops.matmul(query, ops.transpose(keys, (0, 2, 1)))
    weights = ops.softmax(ops.where(ops.expand_dims(mask, 1), scores, NEG_INF), axis=-1)
    context = ops.concatenate([ops.matmul(weights, keys), x], axis=-1)
    return _dense(pieces, "attention", units, "tanh")(context), weights


def logits_of(pieces: Pieces, x: Any, tokens: Any) -> Any:
    """The logits, by the target embedding if it is tied (Press & Wolf 2017).

    `tokens` may be any tokens: a graph needs an input to look up the whole embedding.
    """
    size = pieces.shapes.output[-1]
    if not pieces.settings.tied_embeddings:
        return _dense(pieces, "logits", size, None)(x)
    ones = ops.repeat(ops.ones_like(tokens[:1, :1]), size, axis=1)
    vocabulary = ops.cumsum(ones, axis=1) - 1  # [1, vocabulary]: 0, 1, 2 ...
    return ops.matmul(x, ops.transpose(_embedded(pieces, vocabulary, "target")[0]))


# Input feeding.


def _single_step(
    pieces: Pieces, source: Any, keys: Any, mask: Any, states: list[list[Any]]
) -> keras.Model:
    """The network that is saved with input feeding: one step of the decoder.

    Inputs: source; target [batch, 1], the last token; fed and h_1, c_1, h_2 ... [batch, units].
    Outputs: logits [batch, 1, vocabulary]; fed, h_1 ... after the step; and start_fed,
    start_h_1 ..., the states before the first step.
    """
    target = keras.Input((1,), dtype="int32", name="target")
    names = [f"{one}_{k}" for k in range(1, len(states)) for one in "hc"] + ["fed"]
    inputs = {name: keras.Input((pieces.units[-1],), name=name) for name in names}
    *flat, last = inputs.values()
    before = [[h, c] for h, c in zip(flat[::2], flat[1::2], strict=True)] + [[last[:, None]]]
    x = _embedded(pieces, target, "target")
    x, after, _ = decode(pieces, x, before, lambda x: attend(pieces, x, keys, mask), _all_steps)
    after = [*after[:-1], [after[-1][0][:, 0]]]
    outputs = {"logits": logits_of(pieces, x, target)}
    outputs |= dict(zip(names, (one for state in after for one in state), strict=True))
    first = (one for state in states for one in state)
    outputs |= {f"start_{name}": one for name, one in zip(names, first, strict=True)}
    return keras.Model({"source": source, "target": target, **inputs}, outputs, name="translator")


class InputFeeding(keras.Model):  # type: ignore[misc]  # Keras is untyped
    """Trains the layers of `plain` with a scan over the decoder steps.

    The scan draws no random numbers. The dropout masks of the decoder are drawn before it, one for
    all steps, as in `keras.layers.LSTM`.
    """

    def __init__(self, plain: keras.Model, pieces: Pieces) -> None:
        super().__init__(name="fed_translator")
        self.plain = plain
        self.pieces = pieces
        names = [f"decoder_{number}" for number in range(1, len(pieces.decoder_units) + 1)]
        self.drops = [
            layers.Dropout(pieces.settings.dropout, name=f"{name}_dropout") for name in names
        ]
        self({name: ops.ones((1, 2), dtype="int32") for name in ("source", "target")})

    def call(self, inputs: Any) -> Any:
        """`source` and `target` [batch, steps] -> logits [batch, steps, vocabulary]."""
        pieces = self.pieces
        keys, mask, states = encode(pieces, inputs["source"])
        x = _embedded(pieces, inputs["target"], "target")
        x = _dropout(pieces, x, "target_dropout", pieces.settings.embedding_dropout)
        *below, [fed] = states
        widths = [x.shape[-1] + pieces.units[-1], *pieces.decoder_units[1:]]
        masks = {
            f"decoder_{number}": drop(ops.ones((*ops.shape(x)[:1], width)))
            for number, (drop, width) in enumerate(zip(self.drops, widths, strict=True), 1)
        }

        def run(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
            y, after = lstm.cell(x[:, 0] * masks[lstm.name], state, training=False)
            return y[:, None], after

        def step(states: Any, x: Any) -> tuple[Any, Any]:
            _, after, _ = _fed_step(
                pieces, x[:, None], states, lambda x: attend(pieces, x, keys, mask), run
            )
            # TensorFlow needs outputs of the same structure as the state.
            return after, after

        first = [*below, [fed[:, None]]]
        _, (*_, [context]) = ops.scan(step, first, ops.transpose(x, (1, 0, 2)))
        outputs = _output(pieces, ops.transpose(context[:, :, 0], (1, 0, 2)))
        return logits_of(pieces, outputs, inputs["target"])


def inference_model(network: keras.Model) -> keras.Model:
    """The network that is saved; it has only Keras's own layers."""
    return network.plain if isinstance(network, InputFeeding) else network


# The search.


def search_models(
    network: keras.Model, preparation: Preparation[Fitted], settings: NetworkSettings, *, beams: int
) -> dict[str, keras.Model]:
    """Split a trained network into an encoder, run once per text, and a decoder step."""
    shapes = shapes_of(preparation.own)
    trained = {layer.name: layer for layer in inference_model(network).layers}
    # Inference has no dropout, so its layers are left out.
    settings = replace(settings, embedding_dropout=0.0, dense_dropout=0.0)
    pieces = Pieces(lambda name, _make: trained[name], settings, shapes)
    source = keras.Input((None,), dtype="int32", name="source")
    encoder = keras.Model(source, encode(pieces, source))
    return {ENCODER: encoder, STEP: _step(pieces, beams)}


def _step(pieces: Pieces, beams: int) -> keras.Model:
    """One step of the beam search, for all beams of each text.

    Inputs, in this order: tokens [batch, beams] int32, the last of each beam; scores [batch,
    beams], log probabilities; parents [batch, beams] int32, the beam from which each continues;
    keys and mask from `encode`; h and c of each layer, [batch, beams, units].
    Outputs: the best scores [batch, 2 beams] and their indices, beam * vocabulary + token; the
    scores [batch, beams] if each beam ends now; attention weights [batch, beams, source]; states.
    """
    units, size = pieces.units[-1], pieces.shapes.output[-1]
    tokens = keras.Input((beams,), dtype="int32", name="tokens")
    scores = keras.Input((beams,), name="scores")
    parents = keras.Input((beams,), dtype="int32", name="parents")
    keys = keras.Input((None, units), name="keys")
    mask = keras.Input((None,), dtype="bool", name="mask")
    states = [[keras.Input((beams, units)) for _ in range(2)] for _ in pieces.decoder_units]
    if pieces.settings.input_feeding:
        states.append([keras.Input((beams, units))])
    parent_states = [
        [ops.take_along_axis(one, parents[..., None], axis=1) for one in state] for state in states
    ]

    def run(lstm: Any, x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """One step of all beams; each beam is a sequence of the batch."""
        before = [ops.reshape(one, (-1, units)) for one in state]
        _, *after = lstm(ops.reshape(x, (-1, 1, x.shape[-1])), initial_state=before)
        h, c = (ops.reshape(one, (-1, beams, units)) for one in after)
        return h, [h, c]

    # The attention treats the beams of a text as steps.
    x = _embedded(pieces, tokens, "target")
    x, after, weights = decode(
        pieces, x, parent_states, lambda x: attend(pieces, x, keys, mask), run
    )
    log_probs = ops.log_softmax(logits_of(pieces, x, tokens), axis=-1)
    ends = scores + log_probs[..., END]
    # Padding and [begin] never follow a token.
    impossible = ops.one_hot(PAD, size) + ops.one_hot(BEGIN, size)
    log_probs = scores[..., None] + log_probs + NEG_INF * impossible
    best, places = ops.top_k(
        ops.reshape(log_probs, (-1, beams * size)), min(2 * beams, beams * size)
    )
    return keras.Model(
        [tokens, scores, parents, keys, mask, *(one for state in states for one in state)],
        [best, places, ends, weights, *(one for state in after for one in state)],
    )


# The loss.


def objective(experiment: Experiment, _preparation: Preparation[Fitted]) -> tuple[Any, list[Any]]:
    """Cross entropy per token with label smoothing; perplexity without smoothing."""
    return token_loss(experiment.training.label_smoothing), [Perplexity()]


def token_loss(smoothing: float) -> Any:
    """Mean cross entropy per token of the batch, without padding.

    `smoothing` is the probability mass spread evenly over all tokens (Szegedy et al. 2016).
    """

    def loss(truth: Any, logits: Any) -> Any:
        real = ops.cast(ops.not_equal(truth, PAD), logits.dtype)  # [batch, steps]
        whole = ops.logsumexp(logits, axis=-1)
        right = ops.take_along_axis(logits, ops.cast(truth, "int32")[..., None], axis=-1)[..., 0]
        value = whole - (1 - smoothing) * right
        if smoothing:
            value = value - smoothing * ops.mean(logits, axis=-1)
        # Keras averages over texts. This scaling makes it an average over tokens.
        texts = ops.cast(ops.shape(truth)[0], logits.dtype)
        return ops.sum(value * real, axis=1) * texts / ops.sum(real)

    return loss


class Perplexity(keras.metrics.Metric):  # type: ignore[misc]  # Keras is untyped
    """The exponential of the mean cross entropy per token, without padding."""

    def __init__(self, name: str = "perplexity", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.nll = self.add_weight(name="nll", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: tokens y_true [batch, steps] and logits y_pred."""
        real = ops.cast(ops.not_equal(y_true, PAD), y_pred.dtype)
        right = ops.take_along_axis(y_pred, ops.cast(y_true, "int32")[..., None], axis=-1)[..., 0]
        nll = (ops.logsumexp(y_pred, axis=-1) - right) * real
        self.nll.assign(self.nll + ops.sum(nll))
        self.count.assign(self.count + ops.sum(real))

    def result(self) -> Any:
        """The perplexity."""
        return ops.exp(self.nll / ops.maximum(self.count, 1.0))


def search(
    network: keras.Model,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> list[Hypothesis]:
    """The best hypothesis of each example, in order."""
    models = runtime_models(network, preparation, experiment)
    return predict(models, examples, preparation, experiment)


def runtime_models(
    network: keras.Model, preparation: Preparation[Fitted], experiment: Experiment
) -> dict[str, keras.Model]:
    """The models of the beam search, built once for each network."""
    beams = beams_of(experiment)
    models = _MODELS.setdefault(network, {})
    if beams not in models:
        models[beams] = search_models(network, preparation, experiment.network, beams=beams)
    return models[beams]


_MODELS: weakref.WeakKeyDictionary[keras.Model, dict[int, dict[str, keras.Model]]] = (
    weakref.WeakKeyDictionary()
)


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
    inference_model=inference_model,
    runtime_models=runtime_models,
    own_refused="its beam search runs the built-in layers step by step",
)
