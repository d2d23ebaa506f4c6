"""The published networks in Keras on TensorFlow, trained as its users do it: `compile` and `fit` with their default settings.

Runs in a virtual environment of its own and imports nothing of the project: `python -m benchmarks.keras_side vae 100 32,64,128 2`.
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

SHAPE = (32, 32, 1)
LEARNING_RATE = 0.001
RECONSTRUCTION_WEIGHT = 500


def encoder_body(widths: list[int]) -> keras.Sequential:
    """Images to vectors: strided 3 x 3 convolutions."""
    strided = [layers.Conv2D(width, 3, strides=2, padding="same", activation="relu") for width in widths]
    return keras.Sequential([keras.Input(SHAPE), *strided, layers.Flatten()])


def decoder(widths: list[int], latent_size: int) -> keras.Sequential:
    """Codes to images in [0, 1]: the mirror of the encoder."""
    side = SHAPE[0] // 2 ** len(widths)
    return keras.Sequential(
        [
            keras.Input((latent_size,)),
            layers.Dense(side * side * widths[-1]),
            layers.Reshape((side, side, widths[-1])),
            *[layers.Conv2DTranspose(w, 3, strides=2, padding="same", activation="relu") for w in reversed(widths)],
            layers.Conv2D(SHAPE[-1], 3, padding="same", activation="sigmoid"),
        ]
    )


class VAE(keras.Model):
    """A variational autoencoder with its own training step, which keeps a running mean of each term."""

    def __init__(self, widths: list[int], latent_size: int) -> None:
        super().__init__()
        self.body, self.decoder = encoder_body(widths), decoder(widths, latent_size)
        self.mean, self.log_variance = layers.Dense(latent_size), layers.Dense(latent_size)
        self.trackers = [keras.metrics.Mean(name) for name in ("loss", "reconstruction", "kl")]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.trackers

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Mean and log-variance of the code, and the image decoded from a draw of it."""
        hidden = self.body(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + ops.exp(log_variance / 2) * keras.random.normal(ops.shape(mean))
        return mean, log_variance, self.decoder(z)

    def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            mean, log_variance, decoded = self(x, training=True)
            reconstruction = RECONSTRUCTION_WEIGHT * ops.mean(keras.losses.binary_crossentropy(x, decoded))
            divergence = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
            kl = ops.mean(ops.sum(divergence, axis=1)) / 2
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def main(kind: str, batch_size: int, widths: list[int], latent_size: int) -> None:
    """Serves rounds of `fit` on images made at random."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    if kind == "vae":
        model = VAE(widths, latent_size)
        model.compile(optimizer=optimizer)
    else:
        encoder = encoder_body(widths)
        encoder.add(layers.Dense(latent_size))
        model = keras.Sequential([encoder, decoder(widths, latent_size)])
        model.compile(optimizer=optimizer, loss="binary_crossentropy")

    def run(steps: int) -> None:
        images = np.random.default_rng(0).random((steps * batch_size, *SHAPE), dtype=np.float32)
        target = () if kind == "vae" else (images,)
        model.fit(images, *target, batch_size=batch_size, epochs=1, verbose=0)

    serve(run)


if __name__ == "__main__":
    name, batch, channels, latent = sys.argv[1:]
    main(name, int(batch), [int(width) for width in channels.split(",")], int(latent))
