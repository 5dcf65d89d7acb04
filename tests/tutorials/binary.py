"""A binary classifier of short sequences, in the calls of the tutorials on Keras LSTMs."""

import os

import numpy as np
from keras.layers import LSTM, Dense
from keras.models import Sequential
from keras.utils import set_random_seed

set_random_seed(0)
x = np.random.default_rng(0).random((640, 10, 1))
y = (x.mean(axis=(1, 2)) > 0.5).astype("float32")

model = Sequential()
model.add(LSTM(units=64, input_shape=(10, 1)))
model.add(Dense(units=1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x, y, epochs=int(os.environ.get("EPOCHS", "10")), batch_size=32, verbose=0)
print("loss", *history.history["loss"])
print("evaluate", *model.evaluate(x, y, verbose=0))
