"""The same training step as PyTorch does it best: channels_last, `torch.compile`, the whole step one CUDA graph.

As in `lower.py`, all images are on the device, and a step gathers, crops and mirrors its batch there. float32 uses TF32
in convolutions and products, as XLA does; bfloat16 is autocast. Without a GPU the step runs as it is, for a test.
"""

import torch
import torch.nn.functional as functional

from rivals import EPSILON, LASSO, LEARNING_RATE, STEP_SIZE
from rivals.torch_networks import NETWORKS, kernels_of

IMAGES, SIDE, PADDING = 48000, 32, 4


def build(settings):
    """Return a function that runs training steps, for `rivals.worker`.

    Args:
        settings: dict with `network`, `batch`, `steps` of the attack, `precision` ("float32" or "bfloat16"), `compile`
            (whether to use `torch.compile`), and `repeats`, the number of steps in a call.
    """
    step = Step(settings)
    replay = _captured(step) if step.device == "cuda" else step

    def repeated():
        for _ in range(settings["repeats"]):
            replay()
        if step.device == "cuda":
            torch.cuda.synchronize()

    return repeated


class Step:
    """One step of the training; call it without arguments."""

    def __init__(self, settings):
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.settings = settings
        self.model = NETWORKS[settings["network"]](noise=True).to(self.device, memory_format=torch.channels_last)
        self.forward = torch.compile(self.model, dynamic=False) if settings["compile"] else self.model
        options = {"momentum": 0.9, "nesterov": True, "fused": self.device == "cuda"}
        self.optimizer = torch.optim.SGD(self.model.parameters(), LEARNING_RATE, **options)
        self.kernels = kernels_of(self.model)
        shape = (IMAGES, SIDE, SIDE, 3)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        self.labels = torch.randint(0, 10, (IMAGES,), device=self.device)
        self.order = torch.randperm(IMAGES, device=self.device)
        self.position = torch.zeros((), dtype=torch.int64, device=self.device)

    def __call__(self):
        x, y = self._batch()
        x_adv = self._attack(x, y)
        self.optimizer.zero_grad(set_to_none=True)
        lasso = LASSO * torch.stack([kernel.abs().sum() for kernel in self.kernels]).sum()
        (0.5 * (self._loss(x, y) + self._loss(x_adv, y)) + lasso).backward()
        self.optimizer.step()

    def _batch(self):
        count = self.settings["batch"]
        places = (self.position + torch.arange(count, device=self.device)) % IMAGES
        self.position += count
        chosen = self.order[places]
        padded = functional.pad(self.images[chosen], (0, 0, PADDING, PADDING, PADDING, PADDING))
        offsets = torch.randint(0, 2 * PADDING + 1, (2, count, 1), device=self.device)
        window = torch.arange(SIDE, device=self.device)
        rows, columns = offsets[0] + window, offsets[1] + window
        flipped = torch.rand(count, 1, device=self.device) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
        numbers = torch.arange(count, device=self.device)[:, None, None]
        cropped = padded[numbers, rows[:, :, None], columns[:, None, :]]
        x = (cropped.float() / 255).permute(0, 3, 1, 2)  # channels_last already
        return x, self.labels[chosen]

    def _attack(self, x, y):
        self.model.eval()
        self.model.requires_grad_(False)  # the attack needs the gradient of the images alone
        x_adv = (x + torch.empty_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
        for _ in range(self.settings["steps"]):
            x_adv = x_adv.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._loss(x_adv, y), x_adv)
            x_adv = x_adv.detach() + STEP_SIZE * gradient.sign()
            x_adv = (x + (x_adv - x).clamp(-EPSILON, EPSILON)).clamp(0, 1)
        self.model.requires_grad_(True)
        self.model.train()
        return x_adv.detach()

    def _loss(self, x, y):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings["precision"] == "bfloat16"):
            logits = self.forward(x)
        return functional.cross_entropy(logits.float(), y)


def _captured(step):
    """Capture a step as a CUDA graph, after some steps on another stream as PyTorch demands."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
