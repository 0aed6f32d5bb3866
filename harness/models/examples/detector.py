"""Build an object detector in YOLO's style: a convolutional backbone, a neck of two passes, a head without anchors.

The module returns every place's box and scores. The caller chooses among them (``detections``), as in an app: their
number depends on the picture, and a compiled function's shapes should not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models import ModelSpec, Tolerances

SIZE = 320
STRIDES = (8, 16, 32)
CLASSES = 20
WIDTH = 16
BINS = 8


class Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class CrossStage(nn.Module):
    """Pass half of the channels through a residual block, then join all of them."""

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.last = Conv(inputs, outputs), Conv(3 * half, outputs)
        self.block = nn.Sequential(Conv(half, half, 3), Conv(half, half, 3))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        kept, through = self.first(x).chunk(2, 1)
        out = self.block(through)
        result: Tensor = self.last(torch.cat((kept, through, through + out if self.residual else out), 1))
        return result


class PyramidPool(nn.Module):
    """Take the largest values of three neighbourhoods of growing size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = Conv(channels, channels // 2), Conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.first(x)]
        for _ in range(3):
            levels.append(F.max_pool2d(levels[-1], 5, 1, 2))
        result: Tensor = self.last(torch.cat(levels, 1))
        return result


class Head(nn.Module):
    """Return a box and the scores of each place of one level. Each side's distance is the mean of a distribution."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        wide = 4 * WIDTH
        self.boxes = nn.Sequential(Conv(channels, wide, 3), nn.Conv2d(wide, 4 * BINS, 1))
        self.scores = nn.Sequential(Conv(channels, wide, 3), nn.Conv2d(wide, CLASSES, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, _, height, width = x.shape
        likely = self.boxes(x).view(batch, 4, BINS, height * width).softmax(2)
        distances = (likely * torch.arange(BINS, dtype=x.dtype)[:, None]).sum(2)
        columns = (torch.arange(width, dtype=x.dtype) + 0.5).repeat(height)
        rows = (torch.arange(height, dtype=x.dtype) + 0.5).repeat_interleave(width)
        centre = torch.stack((columns, rows))
        before, behind = distances.chunk(2, 1)
        boxes = torch.cat((centre - before, centre + behind), 1) * self.stride
        return boxes.transpose(1, 2), self.scores(x).flatten(2).sigmoid().transpose(1, 2)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        w = WIDTH
        self.stem = nn.Sequential(Conv(3, w, 3, 2), Conv(w, 2 * w, 3, 2), CrossStage(2 * w, 2 * w, residual=True))
        self.fine = nn.Sequential(Conv(2 * w, 4 * w, 3, 2), CrossStage(4 * w, 4 * w, residual=True))
        self.middle = nn.Sequential(Conv(4 * w, 8 * w, 3, 2), CrossStage(8 * w, 8 * w, residual=True))
        self.coarse = nn.Sequential(Conv(8 * w, 8 * w, 3, 2), PyramidPool(8 * w))
        self.up_middle, self.up_fine = (
            CrossStage(16 * w, 8 * w, residual=False),
            CrossStage(12 * w, 4 * w, residual=False),
        )
        self.down_fine, self.down_middle = Conv(4 * w, 4 * w, 3, 2), Conv(8 * w, 8 * w, 3, 2)
        self.out_middle, self.out_coarse = (
            CrossStage(12 * w, 8 * w, residual=False),
            CrossStage(16 * w, 8 * w, residual=False),
        )
        channels = (4 * w, 8 * w, 8 * w)
        self.heads = nn.ModuleList(Head(c, stride) for c, stride in zip(channels, STRIDES, strict=True))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map ``image`` [1, 3, 320, 320], 0 to 1, to ``boxes`` and ``scores``.

        ``boxes`` [1, 2100, 4] are in pixels (left, top, right, bottom); ``scores`` are [1, 2100, classes].
        """
        fine = self.fine(self.stem(image))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.up_middle(torch.cat((F.interpolate(coarse, scale_factor=2.0), middle), 1))
        fine = self.up_fine(torch.cat((F.interpolate(middle, scale_factor=2.0), fine), 1))
        middle = self.out_middle(torch.cat((self.down_fine(fine), middle), 1))
        coarse = self.out_coarse(torch.cat((self.down_middle(middle), coarse), 1))
        levels = [head(x) for head, x in zip(self.heads, (fine, middle, coarse), strict=True)]
        boxes, scores = zip(*levels, strict=True)
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}


@dataclass(frozen=True)
class Detection:
    """Hold one detection; ``box`` is in pixels: left, top, right, bottom."""

    box: tuple[float, float, float, float]
    kind: int
    score: float


def detections(boxes: Tensor, scores: Tensor, *, least: float = 0.5, overlap: float = 0.5) -> list[Detection]:
    """Return the detections in one picture, for ``boxes`` [n, 4] and ``scores`` [n, classes].

    This is non-maximum suppression by class. The best places come first. A place that covers a better one of its class
    by more than ``overlap`` (intersection over union) is left out, and so is one that scores below ``least``.
    """
    best, kinds = scores.max(1)
    chosen: list[int] = []
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    for place in best.argsort(descending=True, stable=True).tolist():
        if best[place] < least:
            break
        rivals = [other for other in chosen if kinds[other] == kinds[place]]
        if rivals:
            left_top = torch.maximum(boxes[rivals, :2], boxes[place, :2])
            right_bottom = torch.minimum(boxes[rivals, 2:], boxes[place, 2:])
            common = (right_bottom - left_top).clamp(min=0).prod(1)
            if bool((common / (areas[rivals] + areas[place] - common) > overlap).any()):
                continue
        chosen.append(place)
    return [
        Detection((left, top, right, bottom), int(kinds[place]), float(best[place]))
        for place in chosen
        for left, top, right, bottom in [boxes[place].tolist()]
    ]


def build() -> nn.Module:
    torch.manual_seed(0)
    return Detector()


def picture(seed: int) -> dict[str, Tensor]:
    """Return a made-up picture: a slope of colour with a few bright rectangles and some noise."""
    random = torch.Generator().manual_seed(seed)
    image = torch.linspace(0, 0.5, SIZE).expand(1, 3, SIZE, SIZE) + 0.05 * torch.rand(
        1, 3, SIZE, SIZE, generator=random
    )
    for _ in range(5):
        left, top, width, height = (torch.rand(4, generator=random) * SIZE / 2).int().tolist()
        image[:, :, top : top + height, left : left + width] = torch.rand(3, 1, 1, generator=random)
    return {"image": image}


MODEL = ModelSpec(
    name="detector",
    build=build,
    example_inputs={"image": torch.zeros(1, 3, SIZE, SIZE)},
    items={f"picture {seed}": picture(seed) for seed in (1, 2)},
    compare=Tolerances(relative=1e-5),
)
