"""The published diffusion model in Keras on TensorFlow: its U-Net, schedule, loss, optimizer and averaged weights, by `compile` and `fit`.

Runs in a virtual environment of its own and imports nothing of the project: `python -m benchmarks.keras_diffusion 16 32,64,96,128 2 32`.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import math
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.worker import serve

SHAPE = (64, 64, 3)
LEARNING_RATE, WEIGHT_DECAY, DECAY = 0.001, 0.0001, 0.999
HIGHEST = 1000.0  # frequency of the embedding
ANGLES = math.acos(0.95), math.acos(0.02)  # signal rates at the schedule's two ends


class Sinusoids(layers.Layer):
    """Noise variances (B, 1, 1, 1) as sines and cosines (B, 1, 1, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.speeds = 2 * math.pi * np.exp(np.linspace(0, math.log(HIGHEST), size // 2)).astype("float32")

    def call(self, variance: tf.Tensor) -> tf.Tensor:
        angles = variance * self.speeds
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def residual(x: tf.Tensor, width: int) -> tf.Tensor:
    skip = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
    x = layers.BatchNormalization(center=False, scale=False)(x)
    x = layers.Conv2D(width, 3, padding="same", activation="swish")(x)
    return layers.Add()([skip, layers.Conv2D(width, 3, padding="same")(x)])


def u_net(widths: list[int], depth: int, embedding_size: int) -> keras.Model:
    """Noisy images and noise variances to the noise."""
    noisy, variance = keras.Input(SHAPE), keras.Input((1, 1, 1))
    embedded = layers.UpSampling2D(SHAPE[0])(Sinusoids(embedding_size)(variance))
    x = layers.Concatenate()([layers.Conv2D(widths[0], 1)(noisy), embedded])
    skips = []
    for width in widths[:-1]:
        for _ in range(depth):
            x = residual(x, width)
            skips.append(x)
        x = layers.AveragePooling2D(2)(x)
    for _ in range(depth):
        x = residual(x, widths[-1])
    for width in reversed(widths[:-1]):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        for _ in range(depth):
            x = residual(layers.Concatenate()([x, skips.pop()]), width)
    return keras.Model([noisy, variance], layers.Conv2D(SHAPE[-1], 1, kernel_initializer="zeros")(x))


class Diffusion(keras.Model):
    """The training step of a noise predictor, with a moving average of its weights."""

    def __init__(self, widths: list[int], depth: int, embedding_size: int) -> None:
        super().__init__()
        self.normalizer = layers.Normalization()
        self.network, self.average = (u_net(widths, depth, embedding_size) for _ in range(2))
        self.average.set_weights(self.network.get_weights())
        self.tracker = keras.metrics.Mean("noise")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.tracker]

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = self.normalizer(images, training=True)
        noise = keras.random.normal(ops.shape(images))
        angles = ANGLES[0] + keras.random.uniform((ops.shape(images)[0], 1, 1, 1)) * (ANGLES[1] - ANGLES[0])
        signal_rate, noise_rate = ops.cos(angles), ops.sin(angles)
        with tf.GradientTape() as tape:
            predicted = self.network([signal_rate * images + noise_rate * noise, noise_rate**2], training=True)
            loss = ops.mean(ops.abs(noise - predicted))
        gradients = tape.gradient(loss, self.network.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_weights, strict=True))
        for weight, average in zip(self.network.weights, self.average.weights, strict=True):
            average.assign(DECAY * average + (1 - DECAY) * weight)
        self.tracker.update_state(loss)
        return {"noise": self.tracker.result()}


def main(batch_size: int, widths: list[int], depth: int, embedding_size: int) -> None:
    """Serves rounds of `fit` on images made at random."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = Diffusion(widths, depth, embedding_size)
    model.normalizer.adapt(np.random.default_rng(0).random((64, *SHAPE), dtype=np.float32))
    model.compile(optimizer=keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY))

    def run(steps: int) -> None:
        images = np.random.default_rng(0).random((steps * batch_size, *SHAPE), dtype=np.float32)
        model.fit(images, batch_size=batch_size, epochs=1, verbose=0)

    serve(run)


if __name__ == "__main__":
    batch, channels, blocks, size = sys.argv[1:]
    main(int(batch), [int(width) for width in channels.split(",")], int(blocks), int(size))
