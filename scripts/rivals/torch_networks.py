"""ResNet-20 and ResNet-18 of this library in PyTorch, with channel-wise weight noise on the convolutions.

Unlike ours, their dense layer has no noise.
"""

import functools

import torch
import torch.nn.functional as functional
from torch import nn


class NoisyConv(nn.Conv2d):
    def __init__(self, inputs, outputs, stride, noise, size=3):
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
        self.alpha = nn.Parameter(torch.full((outputs, 1, 1, 1), 0.25)) if noise else None

    def forward(self, x):
        kernel = self.weight
        if self.alpha is not None:
            kernel = kernel + self.alpha * kernel.detach().std() * torch.randn_like(kernel)
        return functional.conv2d(x, kernel, stride=self.stride, padding=self.padding)


class Unit(nn.Module):
    """Two convolutions and a shortcut: of fewer pixels and more channels, or, with `projection`, a 1x1 convolution."""

    def __init__(self, inputs, outputs, stride, noise, projection):
        super().__init__()
        self.first, self.second = NoisyConv(inputs, outputs, stride, noise), NoisyConv(outputs, outputs, 1, noise)
        self.first_norm, self.second_norm = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs
        self.projection = None
        if projection and self.missing:
            convolution = NoisyConv(inputs, outputs, stride, noise, size=1)
            self.projection = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self._shortcut(x))

    def _shortcut(self, x):
        if self.projection is not None:
            return self.projection(x)
        if self.missing:
            half = self.missing // 2
            return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return x


class ResNet(nn.Module):
    """A residual network for CIFAR.

    Args:
        filters: list of the numbers of filters of the stages.
        units: integer, units in a stage.
        projection: whether shortcuts that change the shape are convolutions.
        noise: whether the convolutions have weight noise.
    """

    def __init__(self, filters, units, projection, noise):
        super().__init__()
        self.stem, self.stem_norm = NoisyConv(3, filters[0], 1, noise), nn.BatchNorm2d(filters[0])
        shapes = []
        for stage, (inputs, outputs) in enumerate(zip([filters[0], *filters], filters, strict=False)):
            shapes += [(inputs, outputs, 2 if stage else 1)] + [(outputs, outputs, 1)] * (units - 1)
        self.units = nn.Sequential(*(Unit(*shape, noise, projection) for shape in shapes))
        self.logits = nn.Linear(filters[-1], 10)
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1))

    def forward(self, x):
        x = functional.relu(self.stem_norm(self.stem((x - self.mean) / self.std)))
        return self.logits(self.units(x).mean((2, 3)))


NETWORKS = {
    "resnet20": functools.partial(ResNet, [16, 32, 64], 3, False),
    "resnet18": functools.partial(ResNet, [64, 128, 256, 512], 2, True),
}


def kernels_of(model):
    """List the kernels that the lasso is over."""
    return [weight for name, weight in model.named_parameters() if name.endswith("weight") and weight.ndim > 1]
