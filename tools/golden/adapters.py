"""Golden files of the adapter methods: PEFT's own layers on tiny modules, float64.

    python tools/golden/adapters.py [--out tests/golden/adapters]

Each file holds the base weight, the adapter's tensors, an input, and what PEFT makes of them: output, merged weight and
every gradient of sum(y * dy). Weights are made by the formula of tests/support/fixed_init.h. Metadata gives the method,
its options by our names, and the versions of peft and torch.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import peft
import torch
from safetensors.torch import save_file

MASK64 = (1 << 64) - 1


def fixed(shape, salt, scale=1.0):
    """Element i is mix(i + 1, salt) scaled to [-scale, scale)."""
    count = int(np.prod(shape))
    h = (np.arange(1, count + 1, dtype=np.uint64) * 2654435761 + salt * 40503) & 0xFFFFFFFF
    for _ in range(2):
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h ^= h >> 16
    return torch.tensor((h / 2147483648.0 - 1.0) * scale).reshape(shape)


def mix64(value):
    """SplitMix64's finaliser."""
    value = (value + 0x9E3779B97F4A7C15) & MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def dropout_mask(keys, salt, width, p):
    """The mask of src/lowrank/adapters/dropout.h at the input: row i is a function of (keys[i], salt)."""
    mask = np.zeros((len(keys), width))
    for row, key in enumerate(keys):
        stream = mix64(mix64(mix64(key) ^ mix64(salt)) ^ mix64(0x632BE59BD9B4E019))
        for column in range(width):
            if column % 4 == 0:
                bits = mix64((stream + mix64(column // 4)) & MASK64)
            dropped = (bits & 0xFFFF) < int(p * 65536)
            mask[row, column] = 0.0 if dropped else np.float32(1.0 / (1.0 - p))
            bits >>= 16
    return torch.tensor(mask)


class FixedMask(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask


class Tiny(torch.nn.Module):
    def __init__(self, host, out, width):
        super().__init__()
        if host == "embedding":
            self.layer = torch.nn.Embedding(width, out)
        else:
            self.layer = torch.nn.Linear(width, out, bias=host == "linear")
        self.double()
        with torch.no_grad():
            self.layer.weight.copy_(fixed(self.layer.weight.shape, 1, 0.5))
            if host == "linear":
                self.layer.bias.copy_(fixed(self.layer.bias.shape, 2, 0.5))

    def forward(self, x):
        return self.layer(x)


def peft_config(method, rank, alpha, options):
    """Our option names into PEFT's configuration."""
    if method == "lokr":
        return peft.LoKrConfig(r=rank, alpha=alpha, target_modules=["layer"], decompose_factor=options.get("factor", 8),
                               decompose_both=options.get("decompose-both", False),
                               init_weights="lycoris" if options.get("init") == "lycoris" else True)
    return peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=["layer"], use_dora=method == "dora",
                           use_rslora=options.get("rslora", False), lora_dropout=options.get("dropout", 0.0))


def our_name(name):
    """base_model.model.layer.lora_embedding_A.default -> lora_A"""
    return next(part for part in name.split(".") if part.startswith(("lora_", "lokr_"))).replace("lora_embedding_", "lora_")


def write_case(folder, method, case, host, out, width, rank, alpha, options, rows=6):
    torch.manual_seed(0)
    model = peft.get_peft_model(Tiny(host, out, width), peft_config(method, rank, alpha, options))
    trained = {our_name(n): p for n, p in model.named_parameters() if "lora_" in n or "lokr_" in n}
    with torch.no_grad():
        for salt, name in enumerate(sorted(trained)):
            change = fixed(trained[name].shape, 20 + salt, 0.4)
            trained[name].copy_(trained[name] + change if "magnitude" in name else change)
    layer = model.base_model.model.layer
    base = layer.get_base_layer()
    x = (fixed((rows,), 3).abs() * width).long() if host == "embedding" else fixed((rows, width), 3).requires_grad_()
    dy = fixed((rows, out), 5)
    tensors = {"weight": base.weight, "x": x, "dy": dy}
    if host == "linear":
        tensors["bias"] = base.bias
    metadata = {"method": method, "host": host, "rank": str(rank), "alpha": str(alpha), "options": json.dumps(options, sort_keys=True),
                "peft": peft.__version__, "torch": torch.__version__}
    model.train()
    if options.get("dropout"):
        keys, salt = list(range(100, 100 + rows)), 77
        layer.lora_dropout["default"] = FixedMask(dropout_mask(keys, salt, width, options["dropout"]))
        metadata |= {"dropout_keys": ",".join(map(str, keys)), "dropout_salt": str(salt)}
    y = model(x)
    (y * dy).sum().backward()
    tensors["y"] = y
    for name, parameter in trained.items():
        tensors["adapter." + name], tensors["grad." + name] = parameter, parameter.grad
    if host != "embedding":
        tensors["grad.x"] = x.grad
    tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    model.eval()
    layer.merge()
    tensors["merged"] = layer.get_base_layer().weight.detach().clone().contiguous()
    save_file(tensors, folder / f"{method}_{case}.safetensors", metadata)


CASES = [
    # method, case, host, out, in, rank, alpha, options
    ("lora", "linear", "linear", 40, 24, 3, 5, {}),
    ("lora", "no_bias", "linear_no_bias", 24, 40, 4, 4, {}),
    ("lora", "rslora", "linear", 40, 24, 4, 6, {"rslora": True}),
    ("lora", "dropout", "linear", 40, 24, 3, 5, {"dropout": 0.25}),
    ("lora", "embedding", "embedding", 24, 40, 3, 5, {}),
    ("lora", "wide_rank", "linear", 12, 10, 16, 8, {}),
    ("dora", "linear", "linear", 40, 24, 3, 5, {}),
    ("dora", "no_bias", "linear_no_bias", 24, 40, 4, 4, {}),
    ("dora", "rslora", "linear", 40, 24, 4, 6, {"rslora": True}),
    ("dora", "dropout", "linear", 40, 24, 3, 5, {"dropout": 0.25}),
    ("dora", "embedding", "embedding", 24, 40, 3, 5, {}),
    ("lokr", "factored", "linear", 40, 48, 2, 3, {"factor": 8}),
    ("lokr", "no_bias", "linear_no_bias", 48, 40, 2, 3, {"factor": 8}),
    ("lokr", "near_square", "linear", 40, 24, 3, 5, {"factor": -1}),
    ("lokr", "factor_4", "linear", 40, 24, 2, 5, {"factor": 4}),
    ("lokr", "full", "linear", 40, 24, 16, 8, {"factor": 4}),
    ("lokr", "full_tall", "linear", 64, 12, 40, 8, {"factor": 16}),
    ("lokr", "decompose_both", "linear", 60, 72, 2, 3, {"factor": -1, "decompose-both": True}),
    ("lokr", "not_dividing", "linear", 35, 22, 2, 3, {"factor": 8}),
    ("lokr", "prime", "linear", 37, 24, 2, 3, {"factor": 8}),
    ("lokr", "beyond_root", "linear", 40, 24, 2, 3, {"factor": 12}),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "tests/golden/adapters")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        write_case(folder, *case)
    print(f"{len(CASES)} files in {folder}")


if __name__ == "__main__":
    main()
