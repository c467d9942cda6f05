"""Golden files of the adapter methods: PEFT's and LyCORIS' own layers on tiny modules, float64.

    python tools/golden/adapters.py [--out tests/golden/adapters]

Each file holds the base weight, the adapter's tensors, an input, and what the reference makes of them: output, merged weight and
every gradient of sum(y * dy). Weights are made by the formula of tests/support/fixed_init.h. Metadata gives the method,
its options by our names, a convolution's numbers, and the versions of the reference and torch.
"""

import argparse
import importlib.metadata
import json
from pathlib import Path

import numpy as np
import peft
import torch
from lycoris.modules.locon import LoConModule
from lycoris.modules.lokr import LokrModule
from safetensors.torch import save

from fixed_init import fixed

MASK64 = (1 << 64) - 1


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


def save_sorted(tensors, path, metadata):
    """As safetensors' save_file, which however writes metadata in random order."""
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


class FixedMask(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask


def convolution(out, width, numbers):
    return torch.nn.Conv2d(width, out, numbers["kernel"], stride=numbers.get("stride", 1), padding=numbers.get("padding", 0),
                           dilation=numbers.get("dilation", 1), groups=numbers.get("groups", 1))


class Tiny(torch.nn.Module):
    def __init__(self, host, out, width, numbers=None):
        super().__init__()
        if host == "conv2d":
            self.layer = convolution(out, width, numbers)
        elif host == "embedding":
            self.layer = torch.nn.Embedding(width, out)
        else:
            self.layer = torch.nn.Linear(width, out, bias=host == "linear")
        self.double()
        with torch.no_grad():
            self.layer.weight.copy_(fixed(self.layer.weight.shape, 1, 0.5))
            if getattr(self.layer, "bias", None) is not None:
                self.layer.bias.copy_(fixed(self.layer.bias.shape, 2, 0.5))

    def forward(self, x):
        return self.layer(x)


def peft_config(method, rank, alpha, options):
    """Our option names into PEFT's configuration."""
    if method == "lokr":
        return peft.LoKrConfig(r=rank, alpha=alpha, target_modules=["layer"], decompose_factor=options.get("factor", 8),
                               decompose_both=options.get("decompose-both", False),
                               use_effective_conv2d=options.get("tucker", False),
                               init_weights="lycoris" if options.get("init") == "lycoris" else True)
    return peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=["layer"], use_dora=method == "dora",
                           use_rslora=options.get("rslora", False), lora_dropout=options.get("dropout", 0.0))


def our_name(name):
    """base_model.model.layer.lora_embedding_A.default -> lora_A"""
    return next(part for part in name.split(".") if part.startswith(("lora_", "lokr_"))).replace("lora_embedding_", "lora_")


LYCORIS_NAMES = {"lora_down.weight": "lora_A", "lora_mid.weight": "lora_mid", "lora_up.weight": "lora_B",
                 "dora_scale": "lora_magnitude_vector"}


class Lycoris:
    """A LyCORIS module on a layer, by our tensors' names."""

    def __init__(self, method, layer, rank, alpha, options):
        kind = LokrModule if method == "lokr" else LoConModule
        extra = {"factor": options.get("factor", 8), "decompose_both": options.get("decompose-both", False)} if method == "lokr" else {}
        self.module = kind("layer", layer, 1.0, rank, alpha, use_tucker=options.get("tucker", False),
                           weight_decompose=method == "dora", **extra).double()
        self.layer, self.version = layer, {"lycoris": importlib.metadata.version("lycoris-lora")}
        self.trained = {LYCORIS_NAMES.get(n, n): p for n, p in self.module.named_parameters()}
        self.module.apply_to()

    def run(self, x):
        return self.layer(x)

    def merged(self):
        """What its forward computes with; its merge of LoKr applies the scale twice."""
        module = self.module
        weight = self.layer.weight + (module.get_weight(module.shape) if isinstance(module, LokrModule) else module.get_diff_weight()[0])
        return module.apply_weight_decompose(weight) if module.wd else weight


class Peft:
    def __init__(self, method, model, rank, alpha, options):
        self.model = peft.get_peft_model(model, peft_config(method, rank, alpha, options)).train()
        self.wrapper, self.version = self.model.base_model.model.layer, {"peft": peft.__version__}
        self.layer = self.wrapper.get_base_layer()
        self.trained = {our_name(n): p for n, p in self.model.named_parameters() if "lora_" in n or "lokr_" in n}

    def run(self, x):
        return self.model(x)

    def merged(self):
        self.model.eval()
        self.wrapper.merge()
        return self.layer.weight


def input_of(host, width, rows):
    if host == "embedding":
        return (fixed((rows,), 3).abs() * width).long()
    return fixed((2, width, 5, 4) if host == "conv2d" else (rows, width), 3).requires_grad_()


def write_case(folder, method, case, host, out, width, rank, alpha, options, numbers=None, reference="peft", rows=6):
    torch.manual_seed(0)
    model = Tiny(host, out, width, numbers)
    adapted = Peft(method, model, rank, alpha, options) if reference == "peft" else Lycoris(method, model.layer, rank, alpha, options)
    with torch.no_grad():
        for salt, name in enumerate(sorted(adapted.trained)):
            value = adapted.trained[name]
            change = fixed(value.shape, 20 + salt, 0.4)
            value.copy_(value + change if "magnitude" in name else change)
    x = input_of(host, width, rows)
    tensors = {"weight": adapted.layer.weight, "x": x}
    if getattr(adapted.layer, "bias", None) is not None:
        tensors["bias"] = adapted.layer.bias
    metadata = {"method": method, "host": host, "rank": str(rank), "alpha": str(alpha), "options": json.dumps(options, sort_keys=True),
                "torch": torch.__version__, **adapted.version}
    if numbers:
        metadata["convolution"] = json.dumps(numbers, sort_keys=True)
    if options.get("dropout"):
        keys, salt = list(range(100, 100 + len(x))), 77
        mask = dropout_mask(keys, salt, x[0].numel(), options["dropout"]).reshape(x.shape)
        adapted.wrapper.lora_dropout["default"] = FixedMask(mask)
        metadata |= {"dropout_keys": ",".join(map(str, keys)), "dropout_salt": str(salt)}
    y = adapted.run(x)
    tensors |= {"y": y, "dy": fixed(y.shape, 5)}
    (y * tensors["dy"]).sum().backward()
    for name, parameter in adapted.trained.items():
        shape = (-1,) if "magnitude" in name else parameter.shape
        tensors["adapter." + name], tensors["grad." + name] = parameter.reshape(shape), parameter.grad.reshape(shape)
    if host != "embedding":
        tensors["grad.x"] = x.grad
    tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    tensors["merged"] = adapted.merged().detach().clone().contiguous()
    save_sorted(tensors, folder / f"{method}_{case}.safetensors", metadata)


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

SQUARE = {"kernel": [3, 3], "padding": 1}
STRIDED = {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 2]}
DILATED = {"kernel": [3, 3], "padding": 2, "dilation": 2}
GROUPED = {"kernel": [3, 3], "padding": 1, "groups": 3}
POINTWISE = {"kernel": [1, 1]}
CONVOLUTIONS = [
    # method, case, out, in, rank, alpha, options, numbers, reference. PEFT's LoRA is wrong with dilation and something else with groups;
    # LyCORIS' factor 4 of 12 is (3, 4), PEFT's (4, 3).
    ("lora", "conv", 24, 12, 3, 5, {}, SQUARE, "peft"),
    ("lora", "conv_strided", 24, 12, 3, 5, {"rslora": True}, STRIDED, "peft"),
    ("lora", "conv_pointwise", 24, 12, 3, 5, {}, POINTWISE, "peft"),
    ("lora", "conv_dropout", 12, 12, 3, 5, {"dropout": 0.25}, SQUARE, "peft"),
    ("dora", "conv", 24, 12, 3, 5, {}, SQUARE, "peft"),
    ("dora", "conv_strided", 24, 12, 3, 5, {}, STRIDED, "peft"),
    ("dora", "conv_dropout", 12, 12, 3, 5, {"dropout": 0.25}, SQUARE, "peft"),
    ("lokr", "conv", 24, 12, 2, 3, {"factor": 4}, SQUARE, "peft"),
    ("lokr", "conv_effective", 24, 12, 2, 3, {"factor": 4, "tucker": True}, STRIDED, "peft"),
    ("lokr", "conv_full", 24, 12, 8, 3, {"factor": 4}, DILATED, "peft"),
    ("lokr", "conv_grouped", 24, 24, 2, 3, {"factor": 4}, GROUPED, "peft"),
    ("lora", "lycoris_conv", 24, 12, 3, 5, {}, DILATED, "lycoris"),
    ("lora", "lycoris_tucker", 24, 12, 3, 5, {"tucker": True}, STRIDED, "lycoris"),
    ("lora", "lycoris_grouped", 24, 24, 3, 5, {}, GROUPED, "lycoris"),
    ("dora", "lycoris_conv", 24, 12, 3, 5, {"norm-gradient": "full"}, SQUARE, "lycoris"),
    ("dora", "lycoris_tucker", 24, 12, 3, 5, {"norm-gradient": "full", "tucker": True}, DILATED, "lycoris"),
    ("lokr", "lycoris_conv", 24, 12, 2, 3, {"factor": 4, "factors": [4, 3]}, DILATED, "lycoris"),
    ("lokr", "lycoris_tucker", 24, 12, 2, 3, {"factor": 4, "factors": [4, 3], "tucker": True, "decompose-both": True}, SQUARE, "lycoris"),
    ("lokr", "lycoris_full", 24, 12, 8, 3, {"factor": 4, "factors": [4, 3], "scale-rule": "lycoris"}, SQUARE, "lycoris"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "tests/golden/adapters")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        write_case(folder, *case)
    for method, case, *sizes, numbers, reference in CONVOLUTIONS:
        write_case(folder, method, case, "conv2d", *sizes, numbers, reference)
    print(f"{len(CASES) + len(CONVOLUTIONS)} files in {folder}")


if __name__ == "__main__":
    main()
