#!/usr/bin/env python3
"""Goldens of the optimiser, the schedules and the losses, from torch and transformers themselves."""
import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import get_scheduler

OUT = Path(__file__).resolve().parents[2] / "tests/golden/train"


def adamw():
    """Eight steps of torch.optim.AdamW on a matrix (decayed) and a vector (not), gradients clipped to 0.5."""
    generator = torch.Generator().manual_seed(7)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    matrix, vector = torch.nn.Parameter(draw(33, 7)), torch.nn.Parameter(draw(19))
    optimiser = torch.optim.AdamW([{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0}],
                                  lr=1e-2, foreach=False, fused=False)
    tensors = {"matrix.start": matrix.detach().clone(), "vector.start": vector.detach().clone()}
    for step in range(8):
        # The scale brings some steps above the clipping limit and some below.
        matrix.grad, vector.grad = draw(33, 7) * 0.01 * (step + 1), draw(19) * 0.01 * (step + 1)
        tensors |= {f"matrix.grad.{step}": matrix.grad.clone(), f"vector.grad.{step}": vector.grad.clone()}
        torch.nn.utils.clip_grad_norm_([matrix, vector], 0.5)
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (step + 1) / 8
        optimiser.step()
        tensors |= {f"matrix.{step}": matrix.detach().clone(), f"vector.{step}": vector.detach().clone()}
    save_file(tensors, OUT / "adamw.safetensors", {"torch": torch.__version__})


def schedules():
    cases = []
    for name in ("constant", "linear", "cosine"):
        for warmup, total in ((0, 10), (3, 10), (6, 100), (10, 10), (0, 1)):
            optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            kind = "constant_with_warmup" if name == "constant" else name
            scheduler = get_scheduler(kind, optimiser, num_warmup_steps=warmup, num_training_steps=total)
            factors = []
            for _ in range(total + 3):
                factors.append(scheduler.get_last_lr()[0])
                optimiser.step()
                scheduler.step()
            cases.append({"kind": name, "warmup": warmup, "total": total, "factors": factors})
    return cases


def losses():
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(5, 4, generator=generator)
    classes = torch.tensor([3, 0, 0, 2, 1])
    many = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float32)
    values = torch.tensor([0.5, -1.25, 2.0, 0.0, 3.5])
    vectors = torch.nn.functional.normalize(torch.randn(10, 6, generator=generator), dim=1)
    similarity = torch.nn.functional.cosine_similarity(vectors[0::2], vectors[1::2])
    scores = vectors[0::2] @ vectors[1::2].T * 20
    functional = torch.nn.functional
    return {
        "logits": logits.tolist(), "classes": classes.tolist(), "many": many.tolist(), "values": values.tolist(),
        "vectors": vectors.tolist(),
        "mean": {
            "single_label": functional.cross_entropy(logits, classes).item(),
            "multi_label": functional.binary_cross_entropy_with_logits(logits, many).item(),
            "regression": functional.mse_loss(logits[:, 0], values).item(),
            "embedding": functional.mse_loss(similarity, values).item(),
            "ranking": functional.cross_entropy(scores, torch.arange(5)).item(),
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    adamw()
    record = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__},
              "schedules": schedules(), "losses": losses()}
    (OUT / "training.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
