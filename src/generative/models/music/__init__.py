"""Music: a Transformer of melodies, and a GAN of pieces in several voices."""
