"""The published language models in Keras on TensorFlow, trained by `compile` and `fit` with their default settings.

Runs in a virtual environment of its own and imports nothing of the project: `python -m benchmarks.text_keras gpt texts.npy 10000 32`.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.worker import serve

WIDTH, HEADS, HEAD_SIZE = 256, 2, 256


class Positions(layers.Layer):
    """Adds a learnt vector a position."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.embedding = length, layers.Embedding(length, WIDTH)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.embedding(ops.arange(self.length))


def gpt(words: int, length: int) -> keras.Model:
    """One block, its attention causal by Keras' own mask."""
    tokens = keras.Input((length,), dtype="int32")
    x = Positions(length)(layers.Embedding(words, WIDTH)(tokens))
    mixed = layers.MultiHeadAttention(HEADS, HEAD_SIZE, output_shape=WIDTH)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(mixed))
    fed = layers.Dense(WIDTH)(layers.Dense(WIDTH, activation="relu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(fed))
    return keras.Model(tokens, layers.Dense(words, activation="softmax")(x))


def lstm(words: int, length: int) -> keras.Model:
    tokens = keras.Input((length,), dtype="int32")
    x = layers.LSTM(128, return_sequences=True)(layers.Embedding(words, 100)(tokens))
    return keras.Model(tokens, layers.Dense(words, activation="softmax")(x))


def main(name: str, path: str, words: int, batch_size: int) -> None:
    """Serves rounds of `fit`."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    texts = np.load(path)
    before = np.pad(texts[:, :-1], ((0, 0), (1, 0)))
    model = {"gpt": gpt, "lstm": lstm}[name](words, texts.shape[1])
    model.compile(keras.optimizers.Adam(0.001), keras.losses.SparseCategoricalCrossentropy())

    def run(steps: int) -> None:
        rows = np.arange(steps * batch_size) % len(texts)
        model.fit(before[rows], texts[rows], batch_size=batch_size, epochs=1, verbose=0)

    serve(run)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
