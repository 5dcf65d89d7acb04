"""MNIST, row by row, in the calls of the tutorials on Keras LSTMs with TensorFlow."""

import os
import time

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(0)
(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0
digit, digit_label = x_train[0], y_train[0]

model = keras.models.Sequential()
model.add(layers.LSTM(64, input_shape=(None, 28)))
model.add(layers.BatchNormalization())
model.add(layers.Dense(10))
print(model.summary())

model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    optimizer="sgd",
    metrics=["accuracy"],
)
for epochs in (1, int(os.environ.get("EPOCHS", "10"))):
    began = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        validation_data=(x_test, y_test),
        batch_size=64,
        epochs=epochs,
        verbose=0,
    )
    for name, values in history.history.items():
        print(name, *values)
    print("seconds of fit", time.perf_counter() - began)

began = time.perf_counter()
for i in range(10):
    result = tf.argmax(model.predict(tf.expand_dims(x_test[i], 0), verbose=0), axis=1)
    print("digit", result.numpy()[0], "label", y_test[i])
print("seconds of predict", time.perf_counter() - began)
