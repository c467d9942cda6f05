#!/usr/bin/env python3
"""Adapter files that `lowrank convert` writes, loaded by the programs that they are for (run in .venv-reference).

    python tools/check_dialects.py PROGRAM [--keep DIR]

Every golden of tests/golden/dialects is converted to every dialect. What was not refused is loaded: kohya and diffusers files by
diffusers' load_lora_weights into a pipeline of tiny parts, kohya and LyCORIS files by lycoris.kohya.create_network_from_weights, PEFT
folders by PEFT. Compared are W' − W of every layer with the golden's, and the outputs of UNet and text encoders with those of parts
whose weights hold W'. Where LyCORIS's loader cannot read the file that LyCORIS itself wrote, or diffusers drops what it does not
know, the row says so.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import diffusers
import lycoris.kohya
import peft
import safetensors.torch
import torch
from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

sys.path.insert(0, str(Path(__file__).resolve().parent / "golden"))
import dialect_lycoris  # noqa: E402
import dialect_models  # noqa: E402
import dialect_peft  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "golden" / "dialects"
LIMIT = 1e-3


def is_xl(name):
    return name.endswith("sdxl")


def parts_of(name):
    return dialect_models.xl_parts() if is_xl(name) else dialect_models.sd_parts()


def expected_of(name):
    tensors = safetensors.torch.load_file(GOLDENS / f"{name}.expected.safetensors")
    return {key: value for key, value in tensors.items() if not key.endswith(".base")}


def is_dora(name):
    return any(key.endswith(".base") for key in safetensors.torch.load_file(GOLDENS / f"{name}.expected.safetensors"))


def layer_of(parts, key):
    component, path = key.split(".", 1)
    root = parts[component]
    return root.get_submodule(dialect_models.live(component, path.removeprefix("text_model."), root) if component != "unet" else path)


def with_weights(parts, effects):
    with torch.no_grad():
        for key, value in effects.items():
            layer_of(parts, key).weight.add_(value)
    return parts


@torch.no_grad()
def outputs(parts):
    torch.manual_seed(3)
    unet = parts["unet"]
    width = unet.config.cross_attention_dim
    arguments = {}
    if "text_encoder_2" in parts:
        arguments["added_cond_kwargs"] = {"text_embeds": torch.randn(1, 8), "time_ids": torch.randn(1, 6)}
    found = {"unet": unet(torch.randn(1, 4, 8, 8), 10, torch.randn(1, 5, width), **arguments).sample}
    for name in ("text_encoder", "text_encoder_2"):
        if name in parts:
            found[name] = parts[name](torch.tensor([[0, 5, 9, 33, 63]])).last_hidden_state
    return found


def gap(ours, theirs):
    return max((ours[key] - theirs[key]).abs().max().item() for key in theirs)


def by_diffusers(name, path):
    pipeline = dialect_models.xl_pipeline() if is_xl(name) else dialect_models.sd_pipeline()
    effects = dialect_peft.loaded_effects(pipeline, path)
    return effects, outputs({key: getattr(pipeline, key) for key in parts_of(name)})


def by_lycoris(name, path):
    parts = parts_of(name)
    state = dialect_lycoris.lycoris_names(safetensors.torch.load_file(path), parts)
    lycoris.kohya.LycorisNetworkKohya.apply_preset(dialect_lycoris.PRESET)
    network, _ = lycoris.kohya.create_network_from_weights(1.0, None, None, parts["text_encoder"], parts["unet"], weights_sd=state)
    return lycoris_facts(parts, network, state)


def by_lycoris_arguments(name, path):
    """The network made from its arguments, then filled: where create_network_from_weights guesses wrong."""
    case = name.removeprefix("lycoris_").removesuffix("_half")
    parts = parts_of(name)
    network = dialect_lycoris.lycoris_network(parts, dialect_lycoris.LYCORIS[case], dialect_lycoris.lycoris_rank(case))
    state = dialect_lycoris.lycoris_names(safetensors.torch.load_file(path), parts)
    for module in network.unet_loras + network.text_encoder_loras:
        own = {key.split(".", 1)[1]: value for key, value in state.items() if key.startswith(module.lora_name + ".")}
        result = module.load_state_dict(own, strict=False)
        assert not result.unexpected_keys, (module.lora_name, result.unexpected_keys)
    return lycoris_facts(parts, network, state)


def lycoris_facts(parts, network, state):
    modules = network.unet_loras + network.text_encoder_loras
    wanted = {key.split(".")[0] for key in state}
    assert {module.lora_name for module in modules} == wanted, "LyCORIS did not take every module"
    paths = {id(layer): dialect_models.canonical(component, path) for component, root in parts.items() for path, layer in root.named_modules()}
    effects = {}
    for module in modules:
        whole = isinstance(module, lycoris.kohya.FullModule)
        effects[paths[id(module.org_module[0])]] = dialect_lycoris.full_effect(module) if whole else dialect_lycoris.lycoris_effect(module)
    if not any(isinstance(module, lycoris.kohya.FullModule) for module in modules):
        network.unet_loras, network.text_encoder_loras = [], []
        for module in modules:
            module.apply_to()
        return effects, outputs(parts)
    return effects, outputs(with_weights(parts_like(parts), effects))


def parts_like(parts):
    return dialect_models.xl_parts() if "text_encoder_2" in parts else dialect_models.sd_parts()


def by_peft(name, path):
    parts = parts_of(name)
    effects = {}
    for component, root in parts.items():
        folder = path / component
        if not folder.exists():
            continue
        inject_adapter_in_model(PeftConfig.from_pretrained(folder), root, adapter_name="default")
        state = safetensors.torch.load_file(folder / "adapter_model.safetensors")
        bare = component != "unet" and not hasattr(root, "text_model")
        state = {key.removeprefix("base_model.model.").removeprefix("text_model." if bare else "\0"): value for key, value in state.items()}
        result = set_peft_model_state_dict(root, state)
        assert not result.unexpected_keys, result.unexpected_keys
        effects.update(dialect_peft.peft_effects(component, root))
    return effects, outputs(parts)


LOADERS = {"kohya": {"diffusers": by_diffusers, "lycoris": by_lycoris}, "lycoris": {"lycoris": by_lycoris}, "diffusers": {"diffusers": by_diffusers},
           "peft": {"peft": by_peft}}


def compare(name, effects, found, without_text=False):
    """Largest differences of a layer's W' − W and of an output."""
    expected = expected_of(name)
    effects = {key: value for key, value in effects.items() if not key.endswith(".base")}
    assert effects.keys() == expected.keys(), f"layers differ: {sorted(effects.keys() ^ expected.keys())[:4]}"
    reference = outputs(with_weights(parts_of(name), expected))
    if without_text:
        expected = {key: value for key, value in expected.items() if key.startswith("unet.")}
        reference = {"unet": reference["unet"]}
    return max((effects[key].reshape(expected[key].shape) - expected[key]).abs().max().item() for key in expected), gap(found, reference)


def has_several_alphas(path):
    tensors = safetensors.torch.load_file(path)
    return len({value.item() for key, value in tensors.items() if key.endswith(".alpha")}) > 1


def attempt(loader, name, path):
    try:
        return compare(name, *loader(name, path), without_text=loader is by_diffusers and is_dora(name)), ""
    except Exception as error:  # the reference's own limits are part of the table
        return None, f"{type(error).__name__}: {error}".splitlines()[0][:90]


def check(name, target, path):
    """One row a loader: (text, ok)."""
    for reader, loader in LOADERS[target].items():
        if reader == "lycoris" and is_xl(name):
            continue  # it looks for diffusers' names in the UNet it is given, and this file has sgm's
        if reader == "diffusers" and target == "kohya" and is_dora(name):
            yield f"{name:28} {target:10} {reader:10} not compared: diffusers drops dora_scale", True
            continue
        if reader == "diffusers" and target == "kohya" and has_several_alphas(path):
            yield f"{name:28} {target:10} {reader:10} not compared: diffusers takes one alpha for all attention layers", True
            continue
        if reader == "diffusers" and target == "kohya" and any("lora_mid" in key for key in safetensors.torch.load_file(path)):
            yield f"{name:28} {target:10} {reader:10} not compared: diffusers reads no lora_mid", True
            continue
        result, problem = attempt(loader, name, path)
        note = " (UNet alone: of text encoders it loads no magnitudes)" if loader is by_diffusers and is_dora(name) else ""
        own = GOLDENS / f"{name}.safetensors"
        if (result is None or max(result) > LIMIT) and reader == "lycoris" and name.startswith("lycoris_") and target == "lycoris":
            original, _ = attempt(loader, name, own)
            if original is None or max(original) > LIMIT:
                note = " (from its arguments: its loader cannot read its own file)"
                result, problem = attempt(by_lycoris_arguments, name, path)
        if result is None:
            yield f"{name:28} {target:10} {reader:10} FAILED {problem}", False
        else:
            yield f"{name:28} {target:10} {reader:10} ΔW {result[0]:.1e}  outputs {result[1]:.1e}{note}", max(result) <= LIMIT


def convert(program, name, target, folder):
    source = GOLDENS / f"{name}.safetensors"
    out = folder / (f"{name}.{target}" + ("" if target == "peft" else ".safetensors"))
    done = subprocess.run([program, "convert", source if source.exists() else GOLDENS / name, "--to", target, "--out", out, "--json"],
                          capture_output=True, text=True)
    return out, done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    dialect_models.quiet()
    folder = args.keep or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True, parents=True)
    names = sorted(path.name.removesuffix(".expected.safetensors") for path in GOLDENS.glob("*.expected.safetensors"))
    failures, refused, left, compared = 0, 0, 0, 0
    for name in names:
        for target in LOADERS:
            out, done = convert(args.program, name, target, folder)
            if done.returncode != 0:
                refused += 1
                print(f"{name:28} {target:10} refused: {done.stderr.strip().splitlines()[0][:100]}")
                continue
            changes = json.loads(done.stdout)["changes"]
            for text, ok in check(name, target, out):
                left += "not compared" in text
                compared += "not compared" not in text
                failures += not ok
                print(text + (f"; {len(changes)} layers: {changes[0]['what']}" if changes else ""))
    print(f"{compared} comparisons, {failures} failures; {left} not compared for limits of the reader, {refused} conversions refused; "
          f"diffusers {diffusers.__version__}, lycoris-lora {version('lycoris-lora')}, peft {peft.__version__}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
