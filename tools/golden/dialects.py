#!/usr/bin/env python3
"""Adapter files as image tools write them, with the ΔW that the writing library computes.

    python tools/golden/dialects.py [--out tests/golden/dialects]

Tiny random models with the layer names of SD 1.5 (UNet2DConditionModel, CLIPTextModel) and SDXL carry adapters made by LyCORIS
(lycoris.kohya.create_network), PEFT and diffusers (save_lora_weights, convert_state_dict_to_kohya). kohya's own naming, for which
there is no package, is written here and its meaning taken from what LyCORIS (SD 1.5) and diffusers (SDXL) load. Beside each adapter NAME lies
NAME.expected.safetensors: "<component>.<path>" → W' − W of every adapted layer, and for DoRA "<component>.<path>.base" → W. The
models themselves come from seeds: tools/check_dialects.py makes them again.
"""
import argparse
import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import diffusers
import peft
import safetensors.torch
import torch
import transformers
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoKrConfig, LoraConfig, get_peft_model_state_dict

import fixed_init
from dialect_kohya import kohya_hashes, make_kohya
from dialect_lycoris import LYCORIS, by_lycoris, make_lycoris
from dialect_models import UNET_LAYERS, XL_LAYERS, full_size_layers, full_size_models, quiet, sd_parts, xl_parts, xl_pipeline
from dialect_peft import add_peft, flattened_text, loaded_effects, lora_config, mixed_config, old_spelling, save_diffusers, targets


def save(out, name, state, metadata, expected):
    """Bytes of safetensors' own writer, but with metadata keys sorted, which it leaves to chance."""
    plain = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
    size = int.from_bytes(plain[:8], "little")
    header = json.loads(plain[8:8 + size])
    header = {"__metadata__": dict(sorted((metadata or {"format": "pt"}).items())), **{k: v for k, v in header.items() if k != "__metadata__"}}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    (out / f"{name}.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + plain[8 + size:])
    safetensors.torch.save_file(expected, out / f"{name}.expected.safetensors")


def write_lycoris(out):
    for name, arguments in LYCORIS.items():
        save(out, f"lycoris_{name}", *make_lycoris(name, arguments))
    save(out, "lycoris_locon_half", *make_lycoris("locon", LYCORIS["locon"], dtype=torch.float16))


def write_diffusers(out):
    cases = {"diffusers_lora": mixed_config, "diffusers_dora": lambda c, r: lora_config(c, r, use_dora=True),
             "diffusers_rslora": lambda c, r: lora_config(c, r, use_rslora=True)}
    for name, config in cases.items():
        parts = sd_parts()
        torch.manual_seed(40)
        expected = add_peft(parts, config)
        save(out, name, *save_diffusers(out / "tmp", parts), expected)
    parts = sd_parts()
    torch.manual_seed(41)
    plain = add_peft(parts, lambda c, r: LoraConfig(r=2, lora_alpha=2, target_modules=targets(c, r), init_lora_weights=False))
    state, metadata = save_diffusers(out / "tmp", parts, metadata=False)
    save(out, "diffusers_plain", state, metadata, plain)
    save(out, "diffusers_old", old_spelling(state), metadata, plain)
    save(out, "kohya_by_diffusers", convert_state_dict_to_kohya(flattened_text(state)), None, plain)
    parts = {"unet": sd_parts()["unet"]}
    torch.manual_seed(42)
    expected = add_peft(parts, lambda c, r: LoKrConfig(r=2, alpha=3, target_modules=UNET_LAYERS, decompose_factor=2))
    save(out, "diffusers_lokr", *save_diffusers(out / "tmp", parts), expected)


def write_kohya(out):
    facts = {}
    for name, parts, layers in (("kohya_sd15", sd_parts(), UNET_LAYERS), ("kohya_sdxl", xl_parts(), XL_LAYERS)):
        xl = name.endswith("sdxl")
        metadata = {"ss_network_module": "networks.lora", "ss_network_dim": "Dynamic", "ss_network_alpha": "Dynamic", "ss_v2": "False",
                    "ss_base_model_version": "sdxl_base_v1-0" if xl else "sd_v1", "ss_output_name": name}
        state = make_kohya(parts, layers, xl, seed=50 + xl)
        facts[name] = kohya_hashes(state, metadata)
        metadata |= {"sshs_model_hash": facts[name]["model"], "sshs_legacy_hash": facts[name]["legacy"]}
        save(out, name, state, metadata, {})
        expected = loaded_effects(xl_pipeline(), out / f"{name}.safetensors") if xl else by_lycoris(parts, state)
        assert len(expected) == len(state) // 3, (name, len(expected), len(state))
        save(out, name, state, metadata, expected)
    parts = sd_parts()
    state = make_kohya(parts, UNET_LAYERS, False, seed=52, alphas=False, dtype=torch.float16)
    complete = {**state, **{key.replace("lora_down.weight", "alpha"): torch.tensor(float(value.shape[0])) for key, value in state.items()
                            if key.endswith("lora_down.weight") and key.replace("lora_down.weight", "alpha") not in state}}
    save(out, "kohya_half_missing_alpha", state, None, by_lycoris(parts, {key: value.float() for key, value in complete.items()}))
    large = {"b.weight": fixed_init.fixed((700, 500), 3, dtype=torch.float32), "a.alpha": torch.tensor(8.0), "c.weight": fixed_init.fixed((64,), 5, dtype=torch.float32).half()}
    facts["large"] = kohya_hashes(large, {"ss_v2": "False", "ss_network_dim": "8", "modelspec.title": "not hashed"})
    (out / "hashes.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def write_layouts(out):
    facts = {}
    for name, parts in full_size_models().items():
        lines = sorted(line for component, root in parts.items() for line in full_size_layers(root, component))
        facts[name] = {"layers": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
    (out / "layouts.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def write_peft(out):
    parts = sd_parts()
    torch.manual_seed(60)
    expected = add_peft(parts, mixed_config)
    folder = out / "peft_lora"
    for component, root in parts.items():
        (folder / component).mkdir(parents=True)
        config = root.peft_config["default"]
        config.inference_mode = True
        config.save_pretrained(folder / component)
        path = folder / component / "adapter_config.json"
        values = json.loads(path.read_text())
        values["target_modules"].sort()
        path.write_text(json.dumps(values, indent=2, sort_keys=True))
        state = {f"base_model.model.{key}": value.contiguous() for key, value in get_peft_model_state_dict(root).items()}
        safetensors.torch.save_file(state, folder / component / "adapter_model.safetensors", metadata={"format": "pt"})
    safetensors.torch.save_file(expected, out / "peft_lora.expected.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("tests/golden/dialects"))
    out = parser.parse_args().out
    quiet()
    shutil.rmtree(out, ignore_errors=True)
    (out / "tmp").mkdir(parents=True)
    write_layouts(out)
    write_lycoris(out)
    write_diffusers(out)
    write_kohya(out)
    write_peft(out)
    shutil.rmtree(out / "tmp")
    sizes = {path: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    print(f"{len(sizes)} files, {sum(sizes.values())} bytes, largest {max(sizes.values())}; lycoris-lora {version('lycoris-lora')}, diffusers {diffusers.__version__}, "
          f"peft {peft.__version__}, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
