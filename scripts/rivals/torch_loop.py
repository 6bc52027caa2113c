"""A PyTorch loop as a careful user writes it: channels_last, channel-wise weight noise, gradient of the image alone.

bfloat16 is autocast.
"""

import torch
import torch.nn.functional as functional

from rivals import EPSILON, LASSO, LEARNING_RATE, STEP_SIZE
from rivals.torch_networks import NETWORKS, kernels_of


def build(settings):
    if settings["network"] not in NETWORKS:
        raise ImportError(f"the PyTorch loop is written for {', '.join(NETWORKS)}")
    torch.manual_seed(0)
    model = NETWORKS[settings["network"]](noise=settings["noise"] != "none").to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True)
    kernels = kernels_of(model)
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
