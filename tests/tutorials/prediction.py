"""Sequence prediction, first simple and then improved, in the calls of the tutorials."""

import os

import numpy as np
from keras.layers import LSTM, Dense, Dropout
from keras.models import Sequential
from keras.optimizers import SGD
from keras.utils import set_random_seed

EPOCHS = int(os.environ.get("EPOCHS", "10"))


def windows(values, length):
    x = np.array([values[i : i + length] for i in range(len(values) - length)])
    return x[..., np.newaxis], values[length:]


def scaled_series(count):
    noise = np.random.default_rng(0).normal(scale=0.1, size=count)
    series = np.sin(np.arange(count) / 5) + noise
    return (series - series.min()) / (series.max() - series.min())


def text_as_integers(count):
    text = ("the quick brown fox jumps over the lazy dog. " * count)[:count]
    integers = {letter: n for n, letter in enumerate(sorted(set(text)))}
    return np.array([integers[letter] for letter in text]) / len(integers)


def train(model, data):
    x_train, x_test, y_train, y_test = data
    model.compile(loss="mean_squared_error", optimizer=SGD(learning_rate=0.05))
    history = model.fit(
        x_train,
        y_train,
        epochs=EPOCHS,
        batch_size=32,
        validation_data=(x_test, y_test),
        verbose=0,
    )
    print("val_loss", *history.history["val_loss"])
    print("evaluate", model.evaluate(x_test, y_test, verbose=0))
    print("predict", *model.predict(x_test[:3], verbose=0).ravel())


set_random_seed(0)
for values in (scaled_series(600), text_as_integers(600)):
    x, y = windows(values, 20)
    split = int(len(x) * 0.8)
    data = (x[:split], x[split:], y[:split], y[split:])

    simple = Sequential()
    simple.add(LSTM(32, input_shape=(20, 1)))
    simple.add(Dense(1))
    train(simple, data)

    improved = Sequential()
    improved.add(LSTM(64, return_sequences=True, input_shape=(20, 1)))
    improved.add(Dropout(0.2))
    improved.add(LSTM(64))
    improved.add(Dropout(0.2))
    improved.add(Dense(1))
    train(improved, data)
