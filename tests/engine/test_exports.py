"""A Keras model of known layers is exported, whichever backend made it."""

import keras
from keras import layers

import gatewise


def test_a_model_of_this_backend_answers_the_same_without_it(tmp_path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    masked = layers.Embedding(9, 4, mask_zero=True)(tokens)
    read = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(masked)
    wide = layers.Conv1D(4, 3, padding="same", activation="relu")(layers.Embedding(9, 4)(tokens))
    x = keras.ops.concatenate(
        [layers.LayerNormalization()(layers.Dropout(0.5)(read)), wide], axis=-1
    )
    x = layers.LSTM(4, recurrent_activation="hard_sigmoid")(x)
    model = keras.Model(tokens, layers.Dense(2, activation="softmax")(keras.ops.tanh(x)))
    for to in ("onnx", "numpy", "c"):
        assert gatewise.export(model, to=to, output=tmp_path / to).difference < 1e-6
