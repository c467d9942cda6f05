#!/usr/bin/env python3
"""Writes tests/golden/models/vit_*: tiny ViTs, and what transformers computes with them.

vit_single is a classifier, vit_bare an encoder with a pooler, without query, key and value biases, for pictures and patches
that are not square. Each is a model folder (config.json, preprocessor_config.json, model.safetensors) with
expected.safetensors: pixels [B, H, W, 3] uint8, pixel_values as the image processor makes them of these, hidden [B, T, D]
after the last norm, and grad.<parameter> of every parameter: of the loss for labels (then logits and loss too), or of
Σ hidden·weights. Every tensor is made by the formula of tests/support/fixed_init.h.
Run: OMP_NUM_THREADS=1 <reference venv>/bin/python tools/golden/vit.py
"""
import argparse
import json
from pathlib import Path

import torch
import transformers
from fixed_init import fixed
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__}
LABELS = ["red", "green", "blue"]
BATCH = 3


def config_of(name):
    if name == "vit_single":
        return ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40, image_size=16,
                         patch_size=4, layer_norm_eps=1e-6, problem_type="single_label_classification",
                         id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)})
    return ViTConfig(hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=32, image_size=[18, 12],
                     patch_size=[6, 4], qkv_bias=False, hidden_act="gelu_pytorch_tanh")


def fill(model):
    with torch.no_grad():
        for salt, (name, parameter) in enumerate(model.named_parameters(), 1):
            noise = fixed(parameter.shape, salt, 0.4).float()
            is_norm = "layernorm" in name and name.endswith("weight")
            parameter.copy_(1 + noise if is_norm else noise)


def write(name, folder):
    config = config_of(name)
    config._attn_implementation = "eager"
    model = (ViTForImageClassification if name == "vit_single" else ViTModel)(config).eval()
    fill(model)
    height, width = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
    mean, deviation = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) if name == "vit_single" else ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28])
    processor = ViTImageProcessorPil(size={"height": height, "width": width}, image_mean=mean, image_std=deviation)
    pixels = ((fixed((BATCH, height, width, 3), 77) + 1) * 127.99).to(torch.uint8)
    values = processor([p.numpy() for p in pixels], do_resize=False, return_tensors="pt", input_data_format="channels_last")
    inputs = {"pixel_values": values["pixel_values"]}
    expected = {"pixels": pixels} | inputs
    if name == "vit_single":
        expected["labels"] = torch.tensor([2, 0, 1])
        output = model(**inputs, labels=expected["labels"])
        expected |= {"hidden": model.vit(**inputs).last_hidden_state, "logits": output.logits, "loss": output.loss}
        output.loss.backward()
    else:
        expected["hidden"] = model(**inputs).last_hidden_state
        expected["weights"] = fixed(expected["hidden"].shape, 78).float()
        (expected["hidden"] * expected["weights"]).sum().backward()
    expected |= {f"grad.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    # One metadata key: several are written in an order that changes from run to run.
    save_file({n: value.detach().contiguous() for n, value in expected.items()}, folder / "expected.safetensors",
              {"about": json.dumps(VERSIONS)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/models")
    options = parser.parse_args()
    for name in ("vit_single", "vit_bare"):
        write(name, options.out / name)


if __name__ == "__main__":
    main()
