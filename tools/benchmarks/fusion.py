"""Time the fusion against one argmax over the semantic logits, by default at Cityscapes size."""

import argparse
import time

import torch
from detectron2.structures import Boxes, Instances

from efficientps_d2 import adaptive_panoptic_fusion


def make_case(height: int, width: int, count: int, device: str):
    """Random logits of 19 classes and detections with sides of 1/40 to 1/4 of the height."""
    generator = torch.Generator().manual_seed(0)
    sides = height * (0.025 + 0.225 * torch.rand(count, 2, generator=generator) ** 2)
    corners = torch.rand(count, 2, generator=generator) * (torch.tensor([width, height]) - sides)
    instances = Instances(
        (height, width),
        pred_boxes=Boxes(torch.cat([corners, corners + sides], dim=1)),
        scores=0.5 + 0.5 * torch.rand(count, generator=generator),
        pred_classes=torch.randint(8, (count,), generator=generator),
        pred_mask_logits=2 + torch.randn(count, 28, 28, generator=generator),
    )
    return instances.to(device), torch.randn(19, height, width, generator=generator).to(device)


def median_seconds(function, device: str, runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        function()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[runs // 2]  # the first run warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("H", "W"))
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    instances, logits = make_case(*args.size, args.detections, args.device)
    argmax = median_seconds(lambda: logits.argmax(dim=0), args.device, args.runs)
    fusion = median_seconds(
        lambda: adaptive_panoptic_fusion(instances, logits, thing_class_ids=range(11, 19)),
        args.device,
        args.runs,
    )
    print(f"argmax over 19 channels: {argmax * 1000:.1f} ms")
    print(f"fusion of {args.detections} detections: {fusion * 1000:.1f} ms")
    print(f"ratio: {fusion / argmax:.2f}")


if __name__ == "__main__":
    main()
