"""Pretraining: the embedding and the first LSTM layer learn to predict words before the task.

A language model shares the network up to its first LSTM layer, which predicts each next token
(Dai & Le 2015). The backward half of a bidirectional layer predicts each previous one (Peters et
al. 2018). Texts without labels come first, then those of the training part (Howard & Ruder 2018).
"""

import logging
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Examples
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.networks.imports import without_tensorflow
from gatewise.networks.layers import VECTORS, masking
from gatewise.networks.softmax import SampledSoftmax, nats_of
from gatewise.readers.datasets import located
from gatewise.settings import TRAINING_PART
from gatewise.tasks import read
from gatewise.training.checkpoints import as_finished, from_finished
from gatewise.training.feed import steps_of
from gatewise.training.fit import Around, fit
from gatewise.training.interrupts import STOP
from gatewise.training.optimizers import optimizer
from gatewise.training.progress import History, Monitor
from gatewise.training.ready import Ready

log = logging.getLogger("gatewise")

SAMPLES = 512  # negative samples of the softmax
FULL = 4 * SAMPLES  # the largest vocabulary with a full softmax


def pretrain(ready: Ready, around: Around) -> None:
    """Train the first layers of the network as a language model, if the settings ask for it.

    A training that was killed continues; what it had finished comes from the checkpoint.

    Raises:
        DataError: the texts of training.pretrain cannot be read, or have one word each.
    """
    asked, checkpoints = ready.experiment.training.pretrain, around.checkpoints
    if not asked:
        return
    model, reader, twin = token_model(ready.network)
    stages = {"the training part": ready.splits.train}
    if asked != TRAINING_PART:
        data = replace(ready.experiment.data, path=asked, labels="", test="", validation="")
        texts, _, notes = read(data, located(asked), task=ready.task.name, purpose="predict")
        for note in notes:
            log.info("%s: %s.", asked, note)
        stages = {asked: texts} | stages
    for name, texts in stages.items():
        inputs = ready.task.prediction_inputs(texts, ready.preparation)
        examples = ready.task.examples(inputs, ready.preparation, ready.experiment, "predict")
        examples = _of_several_tokens(examples, name)
        if checkpoints is not None and (finished := checkpoints.next_finished()) is not None:
            from_finished(model, finished)
            continue
        history = _fit(model, examples, ready, around, name)
        if around.interrupts.level >= STOP:
            break
        if checkpoints is not None:
            checkpoints.finish(as_finished(model, history))
    for original, trained in zip(reader.weights, twin.weights, strict=True):
        original.assign(ops.convert_to_numpy(trained.value))


def token_model(network: keras.Model) -> tuple[keras.Model, Any, Any]:
    """The language model of a network, the network's first LSTM layer, and its twin in the model.

    The model shares all layers below. Its output, [batch], has the mean nats of a predicted token
    as its mean.
    """
    names = {layer.name for layer in network.layers}
    reader = network.get_layer("both_lstm_1" if "both_lstm_1" in names else "lstm_1")
    embedding = network.get_layer(VECTORS)
    tokens, vocabulary = embedding.input, embedding.input_dim
    real = ops.not_equal(tokens, 0)
    twin = _with_sequences(reader)
    states = twin(keras.tree.flatten(reader.input)[0], mask=real)
    read, truth = [states[:, :-1]], [tokens[:, 1:]]
    if isinstance(reader, layers.Bidirectional):
        ahead, behind = ops.split(states, 2, axis=-1)
        read, truth = [ahead[:, :-1], behind[:, 1:]], [tokens[:, 1:], tokens[:, :-1]]
    nats = _nats(ops.concatenate(read, axis=0), ops.concatenate(truth, axis=0), vocabulary)
    counts = ops.concatenate([ops.cast(real[:, 1:], nats.dtype)] * len(read), axis=0)
    output = ops.sum(nats * counts, axis=1) / ops.maximum(ops.mean(ops.sum(counts, axis=1)), 1.0)
    if len(read) > 1:
        output = ops.mean(ops.reshape(output, (len(read), -1)), axis=0)  # one number for each text
    return keras.Model(network.input, output, name="token_model"), reader, twin


def _with_sequences(reader: Any) -> Any:
    """A layer with the same options and new weights, which returns every step."""
    with without_tensorflow(keras.saving.serialize_keras_object):
        config = reader.get_config()
        inner = [config[name]["config"] for name in ("layer", "backward_layer") if name in config]
        for one in inner or [config]:
            one["return_sequences"] = True
        return masking(type(reader).from_config(config))


def _nats(states: Any, truth: Any, vocabulary: int) -> Any:
    """-log P of the tokens [rows, steps], from states [rows, steps, units]."""
    if vocabulary <= FULL:
        return nats_of(truth, layers.Dense(vocabulary, name="next")(states))
    vectors = layers.ReversibleEmbedding(vocabulary, states.shape[-1], name="next")
    vectors.build()
    bias = layers.Embedding(1, vocabulary, embeddings_initializer="zeros", name="bias")
    return SampledSoftmax(vectors, bias, SAMPLES, name="sampled")(states, truth)


def _of_several_tokens(examples: Examples[Any], name: str) -> Examples[Any]:
    """The examples in which a token can be predicted from another one, without targets."""
    kept = np.flatnonzero(examples.lengths > 1)
    if not len(kept):
        raise DataError(
            f"No text of {name} has two tokens, so there is nothing to predict in pretraining. "
            "Leave out training.pretrain, or name a file of longer texts."
        )

    def inputs(indices: Array, length: int) -> Any:
        return examples.inputs(kept[indices], length)

    def nothing(indices: Array, _length: int = 0) -> Array:
        return np.zeros(len(indices), np.float32)

    return Examples(None, examples.lengths[kept], inputs, nothing)


def _fit(
    model: keras.Model, examples: Examples[Any], ready: Ready, around: Around, name: str
) -> History:
    """Train the language model on the examples, and log its last loss."""
    given = ready.experiment.training
    settings = replace(
        given, epochs=given.pretrain_epochs, schedule="cosine", averaging="none", frozen_epochs=0
    )
    padded = ready.preparation.padded
    steps = settings.epochs * steps_of(examples, settings, padded=padded)
    model.compile(optimizer(settings, steps), loss=lambda _nothing, nats: nats)

    count = f"{len(examples):,} texts"
    log.info("Pretraining on %s: %s, %d epochs.", name, count, settings.epochs)
    history = fit(
        model, examples, None, settings, padded=padded, monitor=Monitor("loss"), around=around
    )
    nats, seconds = history.columns["loss"][-1], history.seconds
    log.info("Pretraining on %s took %.0f s: %.3f nats per token.", name, seconds, nats)
    return history
