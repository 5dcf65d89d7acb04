"""The network that says the next token, as it learns and as it is kept.

It learns with layers that hold their state from batch to batch: each row of a batch is a lane, a
place in the text that goes on where the batch before it ended (truncated backpropagation). It is
kept as a graph of plain layers with the state as inputs and outputs, so that whoever asks it holds
the state: for one long text, for many, or for a text that it writes itself.
"""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise import engine
from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.streams import never_written, start_of, written
from gatewise.errors import ConfigError
from gatewise.interrupts import checkpoint
from gatewise.networks import Network
from gatewise.networks.layers import EMBEDDING, LSTM, lstm
from gatewise.settings import Experiment, NetworkSettings, names

# How often a lane begins at zero in training, for each batch. Without it a network leans on cells
# that only thousands of steps have filled: after an epoch of 17,500 steps a lane, a validation part
# cost 3.02 nats a character from zero on, and 2.32 from where training was (docs/log.md).
FORGOTTEN = 0.02
HEAD = 8.0  # tokens that are drawn almost equally often, the most frequent ones
NEVER = -1.0e9  # the logarithm of no chance at all, which arithmetic survives
TEXTS = 16  # that are read side by side, where there are several
CHUNK = 1024  # tokens of each that are read in one go, at most
NUMBERS = 1 << 24  # logits in one go, at most: 64 MiB
TEMPERATURES = (0.5, 0.8, 1.0)  # of the report's samples
SAMPLE = {"characters": 400, "bpe": 120, "words": 80, "whitespace": 80}  # tokens of each


class Carried(layers.Wrapper):  # type: ignore[misc]  # Keras is untyped
    """An LSTM that goes on, in each lane, where the batch before ended; for learning only.

    Under JAX the state of a layer with stateful=True is no variable that Keras's training hands
    from step to step (Keras 3.12 to 3.15): every batch would begin at zero. Here it is one.

    `rate` of the recurrent weights are dropped at random while it learns, the same ones at all
    steps of a batch (Merity et al. 2017). The layer inside is a plain one, and it is what is kept.
    """

    def __init__(self, layer: Any, rate: float, **options: Any) -> None:
        super().__init__(layer, **options)
        self.rate = rate
        self.drawing = keras.random.SeedGenerator()
        self.forgetting = keras.random.SeedGenerator(0)  # in every layer the same lanes

    def build(self, input_shape: Any) -> None:
        """Makes the state: of each lane, what is put out and what is remembered."""
        super().build(input_shape)
        shape = (input_shape[0], self.layer.units)
        self.state = [
            self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)
            for name in ("h", "c")
        ]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """[lanes, steps, features] to [lanes, steps, units]."""
        state = [ops.copy(one.value) for one in self.state]
        if training:
            known = keras.random.uniform((inputs.shape[0], 1), seed=self.forgetting) >= FORGOTTEN
            state = [one * ops.cast(known, one.dtype) for one in state]
        if training and self.rate:
            said, *after = self._with_some(inputs, state)
        else:
            said, *after = self.layer(inputs, initial_state=state, training=training)
        for old, new in zip(self.state, after, strict=True):
            old.assign(ops.stop_gradient(new))
        return said

    def _with_some(self, inputs: Any, state: list[Any]) -> Any:
        """What the layer says where some of its recurrent weights are missing."""
        kernel, recurrent, bias = (one.value for one in self.layer.trainable_variables)
        recurrent = keras.random.dropout(recurrent, self.rate, seed=self.drawing)
        held = self.layer.non_trainable_variables  # the seed of its own dropout
        found, after = self.layer.stateless_call(
            [kernel, recurrent, bias],
            [one.value for one in held],
            inputs,
            initial_state=state,
            training=True,
        )
        for old, new in zip(held, after, strict=True):
            old.assign(new)
        return found

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One row of units for each step."""
        return (*input_shape[:2], self.layer.units)

    def reset_state(self) -> None:
        """Forgets what was read."""
        for one in self.state:
            one.assign(ops.zeros_like(one.value))


class Sampled(layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """-log P of the token that came; while the network learns, told from a few that are drawn.

    The sum under the softmax is estimated from `count` tokens, drawn once for a whole batch, and
    each weighed by how seldom it is drawn (importance sampling: Bengio & Senécal 2003; Jean et al.
    2015). The token that came is always among them, so that the sum is right on average. Where
    nothing is learnt, every token is weighed, of one lane after the other.
    """

    def __init__(self, embedding: Any, bias: Any, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.embedding, self.bias, self.count = embedding, bias, count
        self.drawing = keras.random.SeedGenerator()

    def build(self, *_shapes: Any) -> None:
        """Makes the bias; the vectors are there."""
        self.bias.build()

    def call(self, x: Any, truth: Any, training: bool = False) -> Any:
        """Outputs [lanes, steps, size] and tokens [lanes, steps] to nats [lanes, steps]."""
        if not training:
            return ops.map(lambda lane: nats_of(lane[1], self._all(lane[0])), (x, truth))
        drawn, often = self._drawn()
        scores = x @ ops.transpose(self._vectors(drawn)) + self._offsets(drawn) - ops.log(often)
        scores = ops.where(drawn == ops.expand_dims(truth, -1), NEVER, scores)
        own = ops.sum(x * self._vectors(truth), axis=-1) + self._offsets(truth)
        return ops.logaddexp(own, ops.logsumexp(scores, axis=-1)) - own

    def _drawn(self) -> tuple[Any, Any]:
        """Tokens, and how often each of them is drawn on average: by Zipf's law, [count].

        The most frequent token comes first in a vocabulary. HEAD flattens the law where it is
        steepest, so that not every draw falls on the same few.
        """
        size = self.embedding.input_dim
        width = math.log((size + HEAD) / HEAD)
        uniform = keras.random.uniform((self.count,), seed=self.drawing)
        drawn = ops.cast(HEAD * ops.exp(uniform * width) - HEAD, "int32")
        drawn = ops.clip(drawn, 0, size - 1)
        place = ops.cast(drawn, "float32")
        return drawn, self.count / width * ops.log1p(1 / (place + HEAD))

    def _all(self, x: Any) -> Any:
        return self.embedding(x, reverse=True) + self.bias.embeddings[0]

    def _vectors(self, tokens: Any) -> Any:
        embedding = self.embedding
        if embedding.tie_weights:
            return ops.take(embedding.embeddings, tokens, axis=0)
        return ops.take(ops.transpose(embedding.reverse_embeddings), tokens, axis=0)

    def _offsets(self, tokens: Any) -> Any:
        return ops.take(self.bias.embeddings[0], tokens, axis=0)


def language(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Tokens [lanes, steps] to logits of the token after each, [lanes, steps, vocabulary].

    With `shapes.candidates` the token after each is an input too, "truth", and the network says
    what it costs, [lanes, steps] nats: sampled while it learns. The state of every lane is kept
    from call to call until the layers are reset.
    """
    _refuse(settings)
    tokens = keras.Input(batch_shape=(shapes.lanes, None), dtype="int32", name="tokens")
    units = settings.units
    embedding = _embedding(shapes.vocabulary, settings)
    x = embedding(tokens)
    if settings.embedding_dropout:
        x = layers.SpatialDropout1D(settings.embedding_dropout, name="embedding_dropout")(x)
    for number, size in enumerate(units, 1):
        layer = lstm(size, settings, sequences=True, name=f"lstm_{number}")
        layer.return_state = True
        x = Carried(layer, settings.weight_dropout, name=f"carried_{number}")(x)
        if settings.normalization == "layer":
            x = layers.LayerNormalization(name=f"normalization_{number}")(x)
    if settings.dense_dropout > 0:
        # The same places at every step, as between the layers (Gal & Ghahramani 2016).
        x = layers.SpatialDropout1D(settings.dense_dropout, name="output_dropout")(x)
    if settings.tied_embeddings and units[-1] != embedding.output_dim:
        x = layers.Dense(embedding.output_dim, use_bias=False, name="projection")(x)
    # One row that every token looks up: a bias, in a layer that every Keras knows.
    bias = layers.Embedding(1, shapes.vocabulary, embeddings_initializer="zeros", name="bias")
    if shapes.candidates:
        truth = keras.Input(batch_shape=(shapes.lanes, None), dtype="int32", name="truth")
        said = Sampled(embedding, bias, shapes.candidates, name="sampled")(x, truth)
        return keras.Model({"tokens": tokens, "truth": truth}, said, name="language")
    return keras.Model(tokens, _logits(x, tokens, embedding, bias), name="language")


def _embedding(vocabulary: int, settings: NetworkSettings) -> Any:
    """The vectors of the tokens; tied, they also weigh the answer (Press & Wolf 2017)."""
    return layers.ReversibleEmbedding(
        vocabulary,
        settings.embedding_dim,
        tie_weights=settings.tied_embeddings,
        embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1),
        name="embedding",
    )


def _logits(x: Any, tokens: Any, embedding: Any, bias: Any) -> Any:
    return embedding(x, reverse=True) + bias(ops.zeros_like(tokens[:1, :1]))


def _refuse(settings: NetworkSettings) -> None:
    if settings.normalization == "batch":
        raise ConfigError(
            "network.normalization = batch has no place in language: it takes layer or none."
        )
    if not settings.tied_embeddings and settings.embedding_dim != settings.units[-1]:
        raise ConfigError(
            f"network.embedding_dim is {settings.embedding_dim} and the last LSTM has "
            f"{settings.units[-1]} units; with network.tied_embeddings = false they are the same. "
            "Leave network.embedding_dim out."
        )


def kept(network: keras.Model) -> keras.Model:
    """The same weights with the state given and returned: what is saved, asked and written with.

    Inputs are "tokens" [texts, steps] and, of each LSTM k, "h_k" and "c_k" [texts, units]; outputs
    are "logits" [texts, steps, vocabulary] and the state after the last step. Nothing is dropped.
    """
    if "h_1" in {one.name for one in network.inputs}:
        return network
    found = {one.name: one for one in network._flatten_layers()}
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    inputs: dict[str, Any] = {"tokens": tokens}
    states: dict[str, Any] = {}
    embedding = _copy(found["embedding"])
    x, copies = embedding(tokens), [(found["embedding"], embedding)]
    number = 1
    while f"lstm_{number}" in found:
        own = found[f"lstm_{number}"]
        layer = _copy(own)
        names = (f"h_{number}", f"c_{number}")
        inputs |= {name: keras.Input((own.units,), name=name) for name in names}
        x, h, c = layer(x, initial_state=[inputs[name] for name in names])
        states |= dict(zip(names, (h, c), strict=True))
        copies.append((own, layer))
        if f"normalization_{number}" in found:
            x = _again(found[f"normalization_{number}"], x, copies)
        number += 1
    if "projection" in found:
        x = _again(found["projection"], x, copies)
    bias = _copy(found["bias"])
    copies.append((found["bias"], bias))
    outputs = {"logits": _logits(x, tokens, embedding, bias)} | states
    made = keras.Model(inputs, outputs, name="language")
    for own, copy in copies:
        # Through NumPy: two models on one array of JAX's would free it under each other.
        weights = [np.array(ops.convert_to_numpy(one)) for one in own.trainable_variables]
        for variable, weight in zip(copy.trainable_variables, weights, strict=True):
            variable.assign(weight)
    return made


def _copy(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _again(layer: Any, x: Any, copies: list[tuple[Any, Any]]) -> Any:
    copy = _copy(layer)
    copies.append((layer, copy))
    return copy(x)


def of_tokens(experiment: Experiment, _preparation: Preparation) -> tuple[Any, list[Any]]:
    """Cross entropy in nats a token, over the whole vocabulary; perplexity is told from it."""
    if experiment.training.loss != "auto":
        raise ConfigError("training.loss is cross entropy for language; leave it at auto.")
    return nats_of, []


def nats_of(truth: Any, logits: Any) -> Any:
    """-log P of each token, [..., steps]; logits are [..., steps, vocabulary].

    A network that samples says the nats itself.
    """
    if len(logits.shape) == len(truth.shape):
        return logits
    hot = ops.one_hot(ops.cast(truth, "int32"), logits.shape[-1], dtype=logits.dtype)
    return ops.logsumexp(logits, axis=-1) - ops.sum(hot * logits, axis=-1)


def nats(
    network: keras.Model, some: Examples, _preparation: Preparation, _experiment: Experiment
) -> Array:
    """-log P of every token after all those before it in its text, [tokens] float64.

    The state is carried from the first token of a text to its last; only memory bounds a chunk.
    """
    stream = some.stream
    assert stream is not None
    before, lengths = stream.before(), np.diff(stream.texts)
    asked = _with_truth(kept(network))
    found = np.empty(len(stream), dtype=np.float64)
    order = np.argsort(-lengths, kind="stable")
    rows = min(TEXTS, len(order))
    for begin in range(0, len(order), rows):
        # The last ones are filled up with copies, so that one shape is compiled.
        which = np.resize(order[begin : begin + rows], rows)
        starts, stops = stream.texts[which], stream.texts[which + 1]
        state = _no_state(asked, rows)
        chunk = _chunk(int(lengths.max()), rows, asked)
        for at in range(0, int(lengths[which].max()), chunk):
            checkpoint()
            places = starts[:, None] + at + np.arange(chunk)  # [texts, chunk]
            real = places < stops[:, None]
            places = np.where(real, places, starts[:, None])
            given = {"tokens": before[places], "truth": stream.tokens[places]}
            answered = asked.predict_on_batch(given | state)
            state = {name: answered[name] for name in state}
            found[places[real]] = answered["nats"][real]
    return found


def _with_truth(network: keras.Model) -> keras.Model:
    """Takes the token that really came after each, "truth", and says "nats" instead of logits."""
    truth = keras.Input((None,), dtype="int32", name="truth")
    inputs, outputs = dict(network.input), dict(network.output)
    logits = outputs.pop("logits")
    chosen = ops.take_along_axis(logits, ops.expand_dims(truth, -1), axis=-1)
    said = ops.logsumexp(logits, axis=-1) - ops.squeeze(chosen, axis=-1)
    return keras.Model(inputs | {"truth": truth}, outputs | {"nats": said})


def _no_state(network: keras.Model, rows: int) -> dict[str, Array]:
    """What is known before the first token, of each text: nothing."""
    sizes = {name: one.shape[-1] for name, one in network.input.items()}
    states = [name for name in sizes if name not in ("tokens", "truth")]
    return {name: np.zeros((rows, sizes[name]), dtype=np.float32) for name in states}


def _chunk(longest: int, rows: int, network: keras.Model) -> int:
    """Tokens that are read in one go: a power of two, for there are few of them to compile."""
    vocabulary = network.get_layer("embedding").input_dim
    most = min(CHUNK, max(1, NUMBERS // (rows * vocabulary)))
    return int(min(1 << int(math.log2(most)), 1 << math.ceil(math.log2(max(1, longest)))))


def continued(
    network: keras.Model,
    tokens: Array,
    *,
    forbidden: Array,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
) -> Iterator[int]:
    """Tokens drawn one after the other behind these, [tokens], without an end.

    Args:
        network: as `kept` made it.
        tokens: what is read first; at least one.
        forbidden: tokens that are never drawn.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: the draw is among so many of the likeliest; 0: among all.
        seed: the same seed draws the same tokens.
    """
    random = np.random.default_rng(seed)
    state = _no_state(network, 1)
    waiting = [int(one) for one in tokens]
    while True:
        checkpoint()
        for token in waiting:
            given = {"tokens": np.array([[token]], dtype=np.int32)} | state
            answered = network.predict_on_batch(given)
            state = {name: answered[name] for name in state}
        logits = answered["logits"][0, -1].astype(np.float64)
        logits[forbidden] = -np.inf
        waiting = [_drawn(logits, temperature, top_k, random)]
        yield waiting[0]


def _drawn(logits: Array, temperature: float, top_k: int, random: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k and top_k < len(logits):
        least = np.partition(logits, -top_k)[-top_k]
        logits = np.where(logits >= least, logits, -np.inf)
    chances = np.exp((logits - logits.max()) / temperature)
    return int(random.choice(len(chances), p=chances / chances.sum()))


def samples(
    network: keras.Model, preparation: Preparation, experiment: Experiment
) -> dict[str, Any]:
    """For the report: what the network writes by itself, at several temperatures."""
    vocabulary = preparation.vocabularies["text"]
    plain = kept(network)
    length = SAMPLE[vocabulary.kind]
    begin = np.array([start_of(vocabulary)])
    found = []
    for temperature in TEMPERATURES:
        drawn = continued(
            plain,
            begin,
            forbidden=never_written(vocabulary),
            temperature=temperature,
            seed=experiment.training.seed,
        )
        with engine.accelerated(False):  # step by step, Keras's own loop is the faster one
            text = "".join(written(islice(drawn, length), vocabulary))
        found.append({"temperature": temperature, "text": text})
    return {"samples": found}


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads; a penalty would be part of the loss."""
    penalties = names(network="l1 l2")  # the perplexity follows from the loss
    own = names(
        network="normalization dense_dropout weight_dropout sampled_softmax tied_embeddings"
    )
    return (LSTM - penalties) | EMBEDDING | own


NETWORK = Network(
    {"": language},
    of_tokens,
    settings_of,
    nats,
    inference_model=kept,
    report_extras=samples,
    own_refused="its state goes on from batch to batch",
)
