#!/usr/bin/env python3
"""Goldens of PEFT folders, in both directions.

    python tools/golden/peft_folders.py                 write a tiny BERT and one folder a case with PEFT
    python tools/golden/peft_folders.py --check DIR     load every folder under DIR in PEFT and compare

With --family vit the same for a tiny ViT, under tests/golden/peft_vit.

A case holds PEFT's two files with random (nonzero) tensors and expected.safetensors: W' of every adapted module as PEFT
merges it, the logits for input_ids or pixel_values, and the biases. --check wants the same merged weights, logits and configuration
(as PEFT's own dataclass) as the golden of the same name; a folder without a golden brings its own expected.safetensors.
"""
import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from peft import LoKrConfig, LoraConfig, PeftConfig, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

from fixed_init import fixed

BERT_INPUTS = {"input_ids": torch.tensor([[2, 17, 33, 5, 60, 8, 41, 3], [2, 9, 9, 26, 50, 11, 63, 3]])}
VIT_INPUTS = {"pixel_values": fixed((2, 3, 16, 16), 1).float()}
NAMES = ["query", "value"]
BERT_CASES = {
    "lora_plain": LoraConfig(r=4, lora_alpha=8, target_modules=NAMES, lora_dropout=0.1),
    "lora_patterns": LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["key", "output.dense", "pooler.dense"],
        rank_pattern={"^.*pooler.dense": 3, "key": 2, "layer.1.attention.self.key": 6, r"layer\.[0-9]\.output\.dense": 5},
        alpha_pattern={"attention.output.dense": 2.5, "layer.0.attention.self.key": 9}),
    "lora_bias_all": LoraConfig(r=2, target_modules=["value", "pooler.dense"], bias="all", init_lora_weights="gaussian"),
    "lora_bias_only": LoraConfig(r=2, lora_alpha=3, target_modules=NAMES, bias="lora_only", task_type="SEQ_CLS",
                                 modules_to_save=["classifier"]),
    "lora_bias_all_head": LoraConfig(r=2, target_modules=["query"], bias="all", task_type="SEQ_CLS"),
    "lora_embedding": LoraConfig(r=4, lora_alpha=4, target_modules=["word_embeddings", "dense"],
                                 exclude_modules=["intermediate.dense", "bert.pooler.dense"], revision="main"),
    "lora_regex": LoraConfig(r=3, target_modules=r".*\.layer\.[01]\.attention\.self\.(query|key)",
                             exclude_modules=r".*layer\.1\..*key", modules_to_save=["classifier"]),
    "lora_layers": LoraConfig(r=2, target_modules=["query", "dense", "absent"], layers_to_transform=[1], layers_pattern=["layer"]),
    "dora": LoraConfig(r=4, lora_alpha=10, use_dora=True, use_rslora=True, modules_to_save=["classifier"], task_type="SEQ_CLS",
                       target_modules=["query", "intermediate.dense", "word_embeddings"], rank_pattern={"query": 2}),
    "lokr_auto": LoKrConfig(r=2, alpha=5, target_modules=["query", "dense"], modules_to_save=["classifier"], task_type="SEQ_CLS"),
    "lokr_factor": LoKrConfig(r=1, alpha=3, decompose_factor=8, decompose_both=True, target_modules=["key", "intermediate.dense"],
                              rank_pattern={"layer.0.attention.self.key": 6}, rank_dropout=0.1, rank_dropout_scale=True,
                              module_dropout=0.2),
    "lokr_full": LoKrConfig(r=32, alpha=16, decompose_factor=4, target_modules=["value"], init_weights="lycoris"),
}
VIT_CASES = {
    "lora": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]),
    "dora": LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=["o_proj", "fc1"], modules_to_save=["classifier"]),
    "lokr": LoKrConfig(r=2, alpha=5, target_modules=["k_proj", "fc2"], modules_to_save=["classifier"]),
}


def make_bert():
    return BertForSequenceClassification(BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                                    intermediate_size=48, max_position_embeddings=16, num_labels=3))


def make_vit():
    return ViTForImageClassification(ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                                               image_size=16, patch_size=8, num_labels=3))


FAMILIES = {"bert": (make_bert, BERT_CASES, BERT_INPUTS, "peft"), "vit": (make_vit, VIT_CASES, VIT_INPUTS, "peft_vit")}


def make_base(make, folder):
    torch.manual_seed(1)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def load_base(folder):
    is_vit = json.loads((folder / "config.json").read_text())["model_type"] == "vit"
    return (ViTForImageClassification if is_vit else BertForSequenceClassification).from_pretrained(folder).eval()


def randomise(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
            elif parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn_like(parameter))


def adapted_modules(model):
    return [name.removeprefix("base_model.model.") for name, module in model.named_modules()
            if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer)]


def facts(model):
    """Merged weights of the adapted modules, logits, biases."""
    model.eval()
    modules = adapted_modules(model)
    inputs = FAMILIES[model.config.model_type][2]
    with torch.no_grad():
        found = inputs | {"logits": model(**inputs).logits}
        merged = model.merge_and_unload().state_dict()
    for module in modules:
        found[f"{module}.weight"] = merged[f"{module}.weight"]
    return {name: value.contiguous() for name, value in found.items()}


def sort_sets(path):
    """PEFT writes its sets in an order that changes from run to run."""
    config = json.loads(path.read_text())
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config[key], list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def write(make, cases, out):
    shutil.rmtree(out, ignore_errors=True)
    make_base(make, out / "base")
    for number, (name, config) in enumerate(cases.items()):
        torch.manual_seed(100 + number)
        model = get_peft_model(load_base(out / "base"), config)
        randomise(model)
        model.peft_config["default"].base_model_name_or_path = "base"
        model.save_pretrained(out / name, save_embedding_layers=False)
        sort_sets(out / name / "adapter_config.json")
        (out / name / "README.md").unlink()
        versions = f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
        save_file(facts(model), out / name / "expected.safetensors", metadata={"reference": versions})


def load(base, folder):
    model = get_peft_model(load_base(base), PeftConfig.from_pretrained(folder))
    state = load_peft_weights(folder)
    result = set_peft_model_state_dict(model, state)
    own = [key for key in result.missing_keys if any(part in key for part in ("lora_", "lokr_", "modules_to_save.default"))]
    # With bias "all" PEFT writes a copy of the head's bias that it does not know when it reads.
    unknown = [key for key in result.unexpected_keys if not key.endswith(".modules_to_save.bias")]
    assert not own and not unknown, (own, unknown)
    return model


def check(folder, golden):
    names = sorted(path.parent.name for path in folder.glob("*/adapter_config.json"))
    assert names, f"no folders under {folder}"
    worst = 0.0
    for name in names:
        reference = golden / name if (golden / name).exists() else folder / name
        if reference != folder / name:
            ours, theirs = (PeftConfig.from_pretrained(path) for path in (folder / name, reference))
            assert ours == theirs, f"{name}: configurations differ\n{ours}\n{theirs}"
        expected = load_file(reference / "expected.safetensors")
        got = facts(load(golden / "base", folder / name))
        extra = set(got) - set(expected) - {"logits", "input_ids", "pixel_values"}
        assert not extra, f"{name}: PEFT adapts {extra} as well"
        for key, value in expected.items():
            gap = ((got[key] - value).abs().max() / value.abs().max()).item()
            worst = max(worst, gap)
            assert gap < 2e-6, f"{name}: {key} differs by {gap:.2e}"
        print(f"{name}: {len(expected)} tensors agree{'' if reference != folder / name else ' (own expectation)'}")
    print(f"{len(names)} folders load in PEFT {peft.__version__}; largest relative difference {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default="bert")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", type=Path)
    args = parser.parse_args()
    make, cases, _, folder = FAMILIES[args.family]
    out = args.out or Path("tests/golden") / folder
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if args.check:
        check(args.check, out)
    else:
        write(make, cases, out)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        print(f"{len(cases)} cases, {size} bytes, under {out}")


if __name__ == "__main__":
    sys.exit(main())
