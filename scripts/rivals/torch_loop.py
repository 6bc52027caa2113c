"""A PyTorch loop as a careful user writes it: channels_last, channel-wise weight noise, gradient of the image alone.

bfloat16 is autocast. ResNet-20 only.
"""

import torch
import torch.nn.functional as functional
from torch import nn

from rivals import EPSILON, LASSO, LEARNING_RATE, STEP_SIZE


def build(settings):
    if settings["network"] != "resnet20":
        raise ImportError("the PyTorch loop is written for resnet20 alone")
    torch.manual_seed(0)
    model = ResNet20(noise=settings["noise"] != "none").to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True)
    kernels = [weight for name, weight in model.named_parameters() if name.endswith("weight") and weight.ndim > 1]
    x = torch.rand(settings["batch"], 3, 32, 32).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (settings["batch"],))

    def loss(images):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bfloat16"):
            logits = model(images)
        return functional.cross_entropy(logits.float(), y)

    def attack():
        model.eval()
        x_adv = (x + torch.empty_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
        for _ in range(settings["steps"]):
            x_adv.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(x_adv), x_adv)
            x_adv = x_adv.detach() + STEP_SIZE * gradient.sign()
            x_adv = (x + (x_adv - x).clamp(-EPSILON, EPSILON)).clamp(0, 1)
        model.train()
        return x_adv

    def step():
        x_adv = attack()
        optimizer.zero_grad()
        lasso = LASSO * sum(kernel.abs().sum() for kernel in kernels)
        (0.5 * (loss(x) + loss(x_adv)) + lasso).backward()
        optimizer.step()

    return step


class NoisyConv(nn.Conv2d):
    def __init__(self, inputs, outputs, stride, noise):
        super().__init__(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.alpha = nn.Parameter(torch.full((outputs, 1, 1, 1), 0.25)) if noise else None

    def forward(self, x):
        kernel = self.weight
        if self.alpha is not None:
            kernel = kernel + self.alpha * kernel.detach().std() * torch.randn_like(kernel)
        return functional.conv2d(x, kernel, stride=self.stride, padding=1)


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride, noise):
        super().__init__()
        self.first, self.second = NoisyConv(inputs, outputs, stride, noise), NoisyConv(outputs, outputs, 1, noise)
        self.first_norm, self.second_norm = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x):
        shortcut = x
        if self.missing:
            shortcut = functional.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.missing // 2, self.missing // 2)
            )
        x = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(x)) + shortcut)


class ResNet20(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.stem, self.stem_norm = NoisyConv(3, 16, 1, noise), nn.BatchNorm2d(16)
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.units = nn.Sequential(*(Unit(*shape, noise) for shape in shapes))
        self.logits = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1))

    def forward(self, x):
        x = functional.relu(self.stem_norm(self.stem((x - self.mean) / self.std)))
        return self.logits(self.units(x).mean((2, 3)))
