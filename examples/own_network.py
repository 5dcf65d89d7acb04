"""Train your own keras.Model; reading, splitting, evaluation and saving stay the same."""

import keras

import gatewise


def network(shapes, _settings):
    """A convolution, an LSTM, and one logit per label."""
    steps = keras.Input(shapes.inputs["steps"])
    x = keras.layers.Conv1D(16, 3, padding="same", activation="relu")(steps)
    x = keras.layers.LSTM(32)(x)
    return keras.Model(steps, keras.layers.Dense(shapes.output[0])(x))


run = gatewise.train("digits", network=network, settings={"training": {"epochs": 3}})
print(run.metrics["verdict"]["sentence"])
run.model.summary()
