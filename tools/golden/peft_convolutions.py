#!/usr/bin/env python3
"""Goldens of PEFT folders with convolutions, in both directions.

    python tools/golden/peft_convolutions.py [--out tests/golden/peft_convolutions]   write a tiny net and a folder a case with PEFT
    python tools/golden/peft_convolutions.py --check DIR                              load every folder under DIR in PEFT and compare

base.safetensors holds the net of convolutions; a case PEFT's two files with random tensors and expected.safetensors: W' of every
adapted module as PEFT merges it. --check wants the W' that the folder's own expected.safetensors has from PEFT's merge too.
"""
import argparse
import shutil
import warnings
from pathlib import Path

import peft
import torch
from peft import LoKrConfig, LoraConfig, PeftConfig, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from peft_folders import adapted_modules, randomise, sort_sets


class Net(torch.nn.Module):
    """The layers of tests/adapters/peft_convolutions_test.cpp."""

    def __init__(self):
        super().__init__()
        self.conv_in = torch.nn.Conv2d(6, 16, 3, padding=1)
        self.down = torch.nn.Conv2d(16, 24, (3, 2), stride=2)
        self.grouped = torch.nn.Conv2d(24, 16, 3, groups=2)
        self.proj = torch.nn.Conv2d(16, 12, 1)
        self.fc = torch.nn.Linear(12, 8)


UNGROUPED = ["conv_in", "down", "proj", "fc"]
CASES = {
    "lora": LoraConfig(r=4, lora_alpha=6, target_modules=UNGROUPED, rank_pattern={"down": 2}, alpha_pattern={"conv_in": 5},
                       lora_dropout=0.1),
    "dora": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=UNGROUPED),
    "lokr": LoKrConfig(r=2, alpha=3, decompose_factor=4, decompose_both=True, target_modules=UNGROUPED + ["grouped"]),
    "lokr_effective": LoKrConfig(r=2, alpha=3, decompose_factor=2, use_effective_conv2d=True, target_modules=UNGROUPED + ["grouped"]),
}


def load_base(path):
    net = Net()
    net.load_state_dict(load_file(path / "base.safetensors"))
    return net.eval()


def merged(model):
    modules = adapted_modules(model)
    state = model.merge_and_unload().state_dict()
    return {f"{module}.weight": state[f"{module}.weight"].detach().clone().contiguous() for module in modules}


def write(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    torch.manual_seed(1)
    save_file(Net().state_dict(), out / "base.safetensors")
    for number, (name, config) in enumerate(CASES.items()):
        torch.manual_seed(100 + number)
        model = get_peft_model(load_base(out), config)
        randomise(model)
        model.save_pretrained(out / name)
        sort_sets(out / name / "adapter_config.json")
        (out / name / "README.md").unlink()
        versions = f"peft {peft.__version__}, torch {torch.__version__}"
        save_file(merged(model), out / name / "expected.safetensors", metadata={"reference": versions})


def check(folder, golden):
    names = sorted(path.parent.name for path in folder.glob("*/adapter_config.json"))
    assert names, f"no folders under {folder}"
    worst = 0.0
    for name in names:
        model = get_peft_model(load_base(golden), PeftConfig.from_pretrained(folder / name))
        result = set_peft_model_state_dict(model, load_peft_weights(folder / name))
        missing = [key for key in result.missing_keys if "lora_" in key or "lokr_" in key]
        assert not missing and not result.unexpected_keys, (missing, result.unexpected_keys)
        got, expected = merged(model), load_file(folder / name / "expected.safetensors")
        assert got.keys() == expected.keys(), f"{name}: {got.keys()} against {expected.keys()}"
        for key, value in expected.items():
            gap = ((got[key] - value).abs().max() / value.abs().max()).item()
            worst = max(worst, gap)
            assert gap < 2e-6, f"{name}: {key} differs by {gap:.2e}"
        print(f"{name}: {len(expected)} layers agree")
    print(f"{len(names)} folders load in PEFT {peft.__version__}; largest relative difference {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("tests/golden/peft_convolutions"))
    parser.add_argument("--check", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.check:
        check(args.check, args.out)
    else:
        write(args.out)
        size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
        print(f"{len(CASES)} cases, {size} bytes, under {args.out}")


if __name__ == "__main__":
    main()
