"""The network of a language model: one graph for training, another one for inference.

The training graph has stateful layers. Each row of a batch is a stream that continues where the
previous batch ended (truncated backpropagation through time). The inference graph has plain layers,
and the state is among its inputs and outputs. The caller therefore keeps the state: of one long
text, of a batch of texts, or of a text that the model generates.
"""

from dataclasses import replace
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise import engine
from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.tokenstream import decode_pieces, special_tokens, start_token
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import EMBEDDING, LSTM, lstm
from gatewise.networks.losses import PLAIN
from gatewise.networks.softmax import SampledSoftmax, nats_of
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.language.outputs import continued, scored
from gatewise.tasks.language.task import Corpus

# The probability, per batch, that a stream starts again from a zero state in training. Without it
# the network relies on cells that only thousands of steps have filled: after an epoch of 17,500
# steps per stream, the validation loss was 3.02 nats per character from a zero state, and 2.32 from
# the final state of training (docs/log.md).
RESET_PROBABILITY = 0.02
TEMPERATURES = (0.5, 0.8, 1.0)  # of the samples in the report
SAMPLE = {"characters": 400, "bpe": 120, "words": 80, "whitespace": 80}  # tokens of a sample


class StatefulLSTM(layers.Wrapper):  # type: ignore[misc]  # Keras is untyped
    """An LSTM that continues each stream where the previous batch ended; for training only.

    On JAX, Keras 3.12 to 3.15 do not pass the state of a layer with stateful=True from one training
    step to the next, so every batch would start from zero. This layer holds the state in variables.

    In training, recurrent weights are dropped with probability `rate` (DropConnect, Merity et al.
    2017), the same ones at all steps of a batch. The wrapped layer drops none, and the inference
    graph uses it.
    """

    def __init__(self, layer: Any, rate: float, **options: Any) -> None:
        super().__init__(layer, **options)
        self.rate = rate
        self.sampling = keras.random.SeedGenerator()
        self.resetting = keras.random.SeedGenerator(0)  # the same streams in every layer

    def build(self, input_shape: Any) -> None:
        """Create the state variables h and c, [streams, units]."""
        super().build(input_shape)
        shape = (input_shape[0], self.layer.units)
        self.state = [
            self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)
            for name in ("h", "c")
        ]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map [streams, steps, features] to [streams, steps, units]."""
        state = [ops.copy(one.value) for one in self.state]
        if training:
            # TensorFlow does not know the batch size while it traces; the state has it.
            streams = self.state[0].shape[0]
            draws = keras.random.uniform((streams, 1), seed=self.resetting)
            continues = draws >= RESET_PROBABILITY
            state = [one * ops.cast(continues, one.dtype) for one in state]
        if training and self.rate:
            outputs, *after = self._with_dropped_weights(inputs, state)
        else:
            outputs, *after = self.layer(inputs, initial_state=state, training=training)
        for old, new in zip(self.state, after, strict=True):
            old.assign(ops.stop_gradient(new))
        return outputs

    def _with_dropped_weights(self, inputs: Any, state: list[Any]) -> Any:
        """The outputs and the state of the layer with dropout on its recurrent weights."""
        kernel = self.layer.cell.recurrent_kernel
        dropped = keras.random.dropout(kernel.value, self.rate, seed=self.sampling)
        weights = self.layer.trainable_variables
        seeds = self.layer.non_trainable_variables  # of its own dropout
        outputs, after = self.layer.stateless_call(
            [dropped if one is kernel else one.value for one in weights],
            [one.value for one in seeds],
            inputs,
            initial_state=state,
            training=True,
        )
        for old, new in zip(seeds, after, strict=True):
            old.assign(new)
        if self.layer.activity_regularizer is not None:
            # A stateless call leaves out these losses, which Keras divides by the batch size.
            for one in outputs:
                self.add_loss(self.layer.activity_regularizer(one) / state[0].shape[0])
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[streams, steps, units]."""
        return (*input_shape[:2], self.layer.units)

    def reset_state(self) -> None:
        """Set the state of every stream to zero."""
        for one in self.state:
            one.assign(ops.zeros_like(one.value))


def language(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """The training graph: tokens [streams, steps] -> logits [streams, steps, vocabulary].

    With `sampled_softmax` the next tokens are a second input, "truth", and the output is their
    cross entropy, [streams, steps] nats. Each stream keeps its state between calls until the layers
    are reset.
    """
    _refuse(settings)
    tokens = keras.Input(batch_shape=(shapes.batch_size, None), dtype="int32", name="tokens")
    units, vocabulary = settings.units, shapes.vocabulary["tokens"]
    embedding = _embedding(vocabulary, settings)
    x = embedding(tokens)
    if settings.embedding_dropout:
        x = layers.SpatialDropout1D(settings.embedding_dropout, name="embedding_dropout")(x)
    for number, size in enumerate(units, 1):
        # The stateful layer drops the weights itself.
        plain = replace(settings, weight_dropout=0.0)
        layer = lstm(size, plain, sequences=True, name=f"lstm_{number}")
        layer.return_state = True
        x = StatefulLSTM(layer, settings.weight_dropout, name=f"stateful_{number}")(x)
        if settings.normalization == "layer":
            x = layers.LayerNormalization(name=f"normalization_{number}")(x)
    if settings.dense_dropout > 0:
        # One mask for all steps, as between the layers (Gal & Ghahramani 2016).
        x = layers.SpatialDropout1D(settings.dense_dropout, name="output_dropout")(x)
    if settings.tied_embeddings and units[-1] != embedding.output_dim:
        x = layers.Dense(embedding.output_dim, use_bias=False, name="projection")(x)
    # An embedding of one row serves as the bias, because every version of Keras has the layer.
    bias = layers.Embedding(1, vocabulary, embeddings_initializer="zeros", name="bias")
    if settings.sampled_softmax:
        truth = keras.Input(batch_shape=(shapes.batch_size, None), dtype="int32", name="truth")
        loss = SampledSoftmax(embedding, bias, settings.sampled_softmax, name="sampled")(x, truth)
        return keras.Model({"tokens": tokens, "truth": truth}, loss, name="language")
    return keras.Model(tokens, _logits(x, tokens, embedding, bias), name="language")


def _embedding(vocabulary: int, settings: NetworkSettings) -> Any:
    """The token embedding; when tied, also the output projection (Press & Wolf 2017)."""
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
            "network.normalization = batch is not available in language. Choose layer or none."
        )
    if not settings.tied_embeddings and settings.embedding_dim != settings.units[-1]:
        raise ConfigError(
            f"network.embedding_dim is {settings.embedding_dim}, but the last LSTM layer has "
            f"{settings.units[-1]} units. With network.tied_embeddings = false they must be equal. "
            "Leave network.embedding_dim out."
        )


def inference_model(network: keras.Model) -> keras.Model:
    """The inference graph with the same weights, which is saved, evaluated and sampled from.

    Inputs are "tokens" [texts, steps] and, for each LSTM layer k, "h_k" and "c_k" [texts, units].
    Outputs are "logits" [texts, steps, vocabulary] and the state after the last step. The graph has
    no dropout.
    """
    if "h_1" in {one.name for one in network.inputs}:
        return network
    trained = {layer.name: layer for layer in network._flatten_layers()}
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    inputs: dict[str, Any] = {"tokens": tokens}
    states: dict[str, Any] = {}
    embedding = _copy(trained["embedding"])
    x, copies = embedding(tokens), [(trained["embedding"], embedding)]
    number = 1
    while f"lstm_{number}" in trained:
        original = trained[f"lstm_{number}"]
        layer = _copy(original)
        names = (f"h_{number}", f"c_{number}")
        inputs |= {name: keras.Input((original.units,), name=name) for name in names}
        x, h, c = layer(x, initial_state=[inputs[name] for name in names])
        states |= dict(zip(names, (h, c), strict=True))
        copies.append((original, layer))
        if f"normalization_{number}" in trained:
            x = _apply_copy(trained[f"normalization_{number}"], x, copies)
        number += 1
    if "projection" in trained:
        x = _apply_copy(trained["projection"], x, copies)
    bias = _copy(trained["bias"])
    copies.append((trained["bias"], bias))
    outputs = {"logits": _logits(x, tokens, embedding, bias)} | states
    model = keras.Model(inputs, outputs, name="language")
    for original, copy in copies:
        # NumPy copies, because on JAX one model would free an array that both models share.
        weights = [np.array(ops.convert_to_numpy(one)) for one in original.trainable_variables]
        for variable, weight in zip(copy.trainable_variables, weights, strict=True):
            variable.assign(weight)
    return model


def _copy(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _apply_copy(layer: Any, x: Any, copies: list[tuple[Any, Any]]) -> Any:
    copy = _copy(layer)
    copies.append((layer, copy))
    return copy(x)


def objective(experiment: Experiment, _preparation: Preparation[Fitted]) -> tuple[Any, list[Any]]:
    """Cross entropy in nats per token, whose exponential is the perplexity.

    It is also a metric if the network adds penalties to its loss.
    """
    if experiment.training.loss != "auto":
        raise ConfigError("training.loss is always cross entropy in language. Leave it at auto.")
    network = experiment.network
    penalties = (network.l1, network.l2, network.activity_l1, network.activity_l2)
    return nats_of, [keras.metrics.MeanMetricWrapper(nats_of, PLAIN)] if any(penalties) else []


def nats(
    network: keras.Model,
    examples: Examples[Corpus],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> Array:
    """-log P of every token, given all tokens before it in its text, [tokens] float64."""
    model = inference_model(network)
    vocabulary = model.get_layer("embedding").input_dim
    return scored(_with_truth(model).predict_on_batch, examples, model, vocabulary)


def _with_truth(network: keras.Model) -> keras.Model:
    """A model with the next tokens as the input "truth" and their "nats" in place of logits."""
    truth = keras.Input((None,), dtype="int32", name="truth")
    inputs, outputs = dict(network.input), dict(network.output)
    logits = outputs.pop("logits")
    true = ops.take_along_axis(logits, ops.expand_dims(truth, -1), axis=-1)
    nll = ops.logsumexp(logits, axis=-1) - ops.squeeze(true, axis=-1)
    return keras.Model(inputs | {"truth": truth}, outputs | {"nats": nll})


def samples(
    network: keras.Model, preparation: Preparation[Fitted], experiment: Experiment
) -> dict[str, Any]:
    """Samples at several temperatures, for the report."""
    vocabulary = preparation.own.vocabulary
    model = inference_model(network)
    length = SAMPLE[vocabulary.kind]
    begin = np.array([start_token(vocabulary)])
    texts = []
    for temperature in TEMPERATURES:
        drawn = continued(
            model,
            begin,
            forbidden=special_tokens(vocabulary),
            temperature=temperature,
            seed=experiment.training.seed,
        )
        with engine.accelerated(False):  # Keras's own loop is faster for single steps
            text = "".join(decode_pieces(islice(drawn, length), vocabulary))
        texts.append({"temperature": temperature, "text": text})
    return {"samples": texts}


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    own = names(network="normalization dense_dropout sampled_softmax tied_embeddings")
    return LSTM | EMBEDDING | own


NETWORK = Network(
    {"": language},
    objective,
    settings_of,
    nats,
    inference_model=inference_model,
    report_extras=samples,
    own_refused="its layers keep their state between batches",
)
