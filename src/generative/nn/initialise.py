"""How weights start."""

from torch import nn


def glorot(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases for every linear and convolutional layer inside (Glorot and Bengio 2010, eq. 16)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
