#!/usr/bin/env python3
"""Writes tests/golden/diffusion: what diffusers and transformers compute with tiny image models, and the names of the full ones.

<model>.json is a component's config.json, <model>.safetensors inputs, outputs and gradients. Weights are not stored: parameter
number i of the sorted names is fixed(shape, salt=i) times a scale (tests/support/fixed_init.h), 1 + that for norms. Of each gradient
there are its norm and 8 samples at the places that index_of says. names.json has, for the full-size SD1.5 and SDXL, the number of
tensors and the SHA-256 of the lines "name shape" in order; ldm_<kind>.txt the original checkpoint's names for tiny
models beside diffusers', as diffusers' own conversion pairs them.
Run: OMP_NUM_THREADS=1 <reference venv>/bin/python tools/golden/diffusion_models.py
"""
import argparse
import functools
import hashlib
import json
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file

import fixed_init

fixed = functools.partial(fixed_init.fixed, dtype=torch.float32)
ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = {"diffusers": diffusers.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
SAMPLES = 8
TINY = {"sample_size": 8, "norm_num_groups": 4, "layers_per_block": 1}
UNETS = {
    "sd15": TINY | {"block_out_channels": [8, 16], "attention_head_dim": 2, "cross_attention_dim": 12,
                    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
                    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]},
    "sdxl": TINY | {"block_out_channels": [8, 16, 24], "attention_head_dim": [1, 2, 3], "cross_attention_dim": 20,
                    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
                    "transformer_layers_per_block": [1, 1, 2], "use_linear_projection": True,
                    "addition_embed_type": "text_time", "addition_time_embed_dim": 6,
                    "projection_class_embeddings_input_dim": 36 + 16, "freq_shift": 1, "flip_sin_to_cos": False},
}
VAE = {"block_out_channels": [8, 16], "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
       "norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 3, "sample_size": 16, "scaling_factor": 0.13}
CLIP = {"vocab_size": 40, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 3,
        "max_position_embeddings": 9, "bos_token_id": 38, "pad_token_id": 39, "eos_token_id": 39}
FULL = {
    "sd15": {"sample_size": 64, "cross_attention_dim": 768},
    "sdxl": {"sample_size": 128, "cross_attention_dim": 2048, "block_out_channels": [320, 640, 1280],
             "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
             "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
             "transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
             "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816},
}
FULL_VAE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4, "latent_channels": 4}


def stored_name(model, name):
    """The checkpoint's: transformers 5 drops CLIPTextModel's "text_model." in memory."""
    return f"text_model.{name}" if isinstance(model, transformers.CLIPTextModel) else name


def fill(model):
    named = sorted((stored_name(model, name), parameter) for name, parameter in model.named_parameters())
    with torch.no_grad():
        for salt, (name, parameter) in enumerate(named):
            is_norm = "norm" in name and name.endswith("weight")
            scale = 0.2 if parameter.dim() == 1 else 1.7 / parameter[0].numel() ** 0.5
            parameter.copy_(fixed(parameter.shape, salt, scale) + float(is_norm))
    return model.eval()


def index_of(count):
    return [i * count // SAMPLES for i in range(SAMPLES)]


def gradients(model):
    result = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        flat = parameter.grad.flatten()
        result[f"grad.{stored_name(model, name)}"] = torch.cat([flat.double().norm().float()[None], flat[index_of(flat.numel())]])
    return result


def save(folder, name, config, tensors):
    config = {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
    (folder / f"{name}.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors",
              {"about": json.dumps(VERSIONS)})


def loss_of(outputs):
    """Σ outputs·fixed, a gradient of its own for every number."""
    return sum((output * fixed(output.shape, 900 + i)).sum() for i, output in enumerate(outputs))


def unet(folder, kind):
    model = fill(diffusers.UNet2DConditionModel.from_config(UNETS[kind]))
    x = fixed((2, 4, 8, 8), 500).requires_grad_()
    states = fixed((2, 5, UNETS[kind]["cross_attention_dim"]), 501).requires_grad_()
    times = torch.tensor([981.0, 3.0])
    inputs = {"x": x, "states": states, "times": times}
    added = None
    if kind == "sdxl":
        inputs["text"], inputs["time_ids"] = fixed((2, 16), 502), torch.tensor([[512., 384, 0, 8, 512, 384], [64., 64, 1, 0, 64, 64]])
        added = {"text_embeds": inputs["text"], "time_ids": inputs["time_ids"]}
    y = model(x, times, states, added_cond_kwargs=added).sample
    loss_of([y]).backward()
    odd = fixed((1, 4, 10, 6), 503)  # a size that the halvings do not divide
    with torch.no_grad():
        odd_y = model(odd, 500, states[:1], added_cond_kwargs=added and {key: value[:1] for key, value in added.items()}).sample
    save(folder, f"unet_{kind}", dict(model.config), inputs | {"y": y, "grad_x": x.grad, "grad_states": states.grad, "odd_y": odd_y} | gradients(model))


def vae(folder):
    model = fill(diffusers.AutoencoderKL.from_config(VAE))
    pictures = fixed((2, 3, 16, 8), 510).requires_grad_()
    latents = fixed((2, 3, 4, 6), 511, 2.0).requires_grad_()
    moments = model.encode(pictures).latent_dist
    decoded = model.decode(latents).sample
    loss_of([moments.mean, moments.logvar, decoded]).backward()
    save(folder, "vae", dict(model.config), {"pictures": pictures, "latents": latents, "mean": moments.mean, "logvar": moments.logvar,
                                             "decoded": decoded, "grad_pictures": pictures.grad, "grad_latents": latents.grad} | gradients(model))


def clip(folder, name, make, **about):
    config = transformers.CLIPTextConfig(**(CLIP | about), attn_implementation="eager")
    model = fill(make(config))
    ids = torch.tensor([[38, 3, 7, 20, 39, 39, 39, 39, 39], [38, 36, 36, 1, 2, 5, 31, 0, 39]])
    output = model(ids, output_hidden_states=True)
    pooled = output.text_embeds if "text_embeds" in output else output.pooler_output
    text = getattr(model, "text_model", model)
    skipped = text.final_layer_norm(output.hidden_states[-2])
    loss_of([output.last_hidden_state, output.hidden_states[-2], pooled]).backward()
    config_json = json.loads(config.to_json_string(use_diff=False)) | {"architectures": [type(model).__name__]}
    save(folder, name, config_json, {"ids": ids, "last": output.last_hidden_state, "penultimate": output.hidden_states[-2],
                                     "penultimate_normed": skipped, "pooled": pooled} | gradients(model))


def listing(model):
    return [f"{stored_name(model, name)} {list(parameter.shape)}" for name, parameter in model.named_parameters()]


def digest(lines):
    return {"tensors": len(lines), "sha256": hashlib.sha256("".join(line + "\n" for line in sorted(lines)).encode()).hexdigest()}


def ldm_unet_modules(config):
    """Names of an original UNet's modules, in the order in which openaimodel.py makes them."""
    depth, levels, layers = config["transformer_layers_per_block"], len(config["block_out_channels"]), config["layers_per_block"]
    attends = [name.startswith("Cross") for name in config["down_block_types"]]
    resnet = lambda place, changes: [f"{place}.{part}" for part in ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
                                     + ["skip_connection"] * changes]
    block = ["attn1.to_q!", "attn1.to_k!", "attn1.to_v!", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2", "attn2.to_q!", "attn2.to_k!",
             "attn2.to_v!", "attn2.to_out.0", "norm1", "norm2", "norm3"]
    transformer = lambda place, n: [f"{place}.norm", f"{place}.proj_in", f"{place}.proj_out"] + [
        f"{place}.transformer_blocks.{i}.{part}" for i in range(n) for part in block]
    names = ["time_embed.0", "time_embed.2", "input_blocks.0.0"] + ["label_emb.0.0", "label_emb.0.2"] * ("addition_embed_type" in config)
    number, channels, skips = 1, config["block_out_channels"][0], [config["block_out_channels"][0]]
    for level, out in enumerate(config["block_out_channels"]):
        for _ in range(layers):
            names += resnet(f"input_blocks.{number}.0", channels != out)
            names += transformer(f"input_blocks.{number}.1", depth[level]) if attends[level] else []
            channels, number = out, number + 1
            skips.append(out)
        if level + 1 < levels:
            names.append(f"input_blocks.{number}.0.op")
            number += 1
            skips.append(out)
    names += resnet("middle_block.0", False) + transformer("middle_block.1", depth[-1]) + resnet("middle_block.2", False)
    number = 0
    for level, out in reversed(list(enumerate(config["block_out_channels"]))):
        for i in range(layers + 1):
            names += resnet(f"output_blocks.{number}.0", channels + skips.pop() != out)
            names += transformer(f"output_blocks.{number}.1", depth[level]) if attends[level] else []
            channels = out
            if level > 0 and i == layers:
                names.append(f"output_blocks.{number}.{2 if attends[level] else 1}.conv")
            number += 1
    return names + ["out.0", "out.2"]


def ldm_vae_modules(config):
    """model.py's Encoder and Decoder."""
    levels, layers = config["block_out_channels"], config["layers_per_block"]
    resnet = lambda place, changes: [f"{place}.{part}" for part in ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * changes]
    middle = resnet("mid.block_1", False) + [f"mid.attn_1.{part}" for part in ["norm", "q", "k", "v", "proj_out"]] + resnet("mid.block_2", False)
    encoder, decoder = ["conv_in"], ["conv_in"] + middle
    for i, out in enumerate(levels):
        for j in range(layers):
            encoder += resnet(f"down.{i}.block.{j}", j == 0 and i > 0 and levels[i - 1] != out)
        encoder += [f"down.{i}.downsample.conv"] * (i + 1 < len(levels))
    for i, out in enumerate(levels):
        for j in range(layers + 1):
            decoder += resnet(f"up.{i}.block.{j}", j == 0 and i + 1 < len(levels) and levels[i + 1] != out)
        decoder += [f"up.{i}.upsample.conv"] * (i > 0)
    tail = ["norm_out", "conv_out"]
    return [f"encoder.{name}" for name in encoder + middle + tail] + [f"decoder.{name}" for name in decoder + tail] + ["quant_conv", "post_quant_conv"]


def open_clip_names(layers):
    """TextTransformer of open_clip, as a CLIP model's text tower."""
    names = ["positional_embedding", "text_projection", "token_embedding.weight", "ln_final.weight", "ln_final.bias"]
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        names += [f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias"]
        names += [f"{block}.{part}.{kind}" for part in ["ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"] for kind in ["weight", "bias"]]
    return names


BARE = ("positional_embedding", "text_projection")


def numbered(names, prefix):
    """Each name's tensor holds its number; rows of a fused projection (3 of them) are numbered n, n + ⅓, n + ⅔."""
    checkpoint = {}
    for number, name in enumerate(names):
        whole = name.endswith(("weight", "bias")) or name in BARE
        kinds = [""] if whole else [".weight"] if name.endswith("!") else [".weight", ".bias"]
        for kind in kinds:
            # float64: numbers must survive; [1, 1, 1, 1] and [3, 1] have the ranks that the conversion looks at.
            rows = 3 if "in_proj" in name else 1
            value = torch.tensor([number + (kind == ".bias") / 2 + row / 8 for row in range(rows)], dtype=torch.float64)
            is_matrix = kind == ".weight" or name in BARE or name.endswith("in_proj_weight")
            checkpoint[f"{prefix}{name.rstrip('!')}{kind}"] = value.reshape(rows, 1) if is_matrix else value
    return checkpoint


def pairs(checkpoint, converted, prefix):
    by_value = {}
    for name, value in checkpoint.items():
        for row, number in enumerate(value.flatten().tolist()):
            by_value[number] = name.removeprefix(prefix) + (f"[{row}]" if value.numel() > 1 else "")
    lines = sorted(f"{name} {by_value[value.flatten()[0].item()]}" for name, value in converted.items())
    assert len(lines) == sum(value.shape[0] for value in checkpoint.values()), "the conversion left tensors out"
    return lines


def open_clip_pairs(layers):
    prefix = "conditioner.embedders.1.model."
    checkpoint = numbered(open_clip_names(layers), prefix)
    text = type("Text", (), {"config": type("Config", (), {"hidden_size": 1})})
    return pairs(checkpoint, single_file_utils.convert_open_clip_checkpoint(text, dict(checkpoint), prefix), prefix)


def open_clip(folder):
    """The tiny clip_projection under OpenCLIP's names, from which diffusers' conversion makes the same model again."""
    model = fill(transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**CLIP, projection_dim=16)))
    ours, prefix = model.state_dict(), "conditioner.embedders.1.model."
    checkpoint, thirds = {}, {}
    for line in open_clip_pairs(CLIP["num_hidden_layers"]):
        name, theirs = line.split()
        if theirs.endswith("]"):
            thirds.setdefault(prefix + theirs[:-3], {})[int(theirs[-2])] = ours[name]
        else:
            checkpoint[prefix + theirs] = ours[name].T if theirs == "text_projection" else ours[name]
    checkpoint |= {name: torch.cat([parts[i] for i in range(3)]) for name, parts in thirds.items()}
    again = single_file_utils.convert_open_clip_checkpoint(model, dict(checkpoint), prefix)
    assert again.keys() == ours.keys() and all(torch.equal(again[name], ours[name]) for name in ours)
    save_file({name: value.contiguous() for name, value in checkpoint.items()}, folder / "open_clip.safetensors",
              {"about": json.dumps(VERSIONS)})


def ldm_names(config, vae_config, clip_layers):
    prefix = "model.diffusion_model."
    checkpoint = numbered(ldm_unet_modules(config), prefix)
    unet_config = config | {"class_embed_type": None, "addition_embed_type": config.get("addition_embed_type"), "num_class_embeds": None}
    lines = pairs(checkpoint, single_file_utils.convert_ldm_unet_checkpoint(dict(checkpoint), unet_config), prefix)
    prefix = "first_stage_model."
    checkpoint = numbered(ldm_vae_modules(vae_config), prefix)
    vae_lines = pairs(checkpoint, single_file_utils.convert_ldm_vae_checkpoint(dict(checkpoint), vae_config), prefix)
    clip_lines = open_clip_pairs(clip_layers)
    return [f"unet {line}" for line in lines] + [f"vae {line}" for line in vae_lines] + [f"clip {line}" for line in clip_lines]


def full_config(config):
    defaults = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "transformer_layers_per_block": [1, 1, 1, 1],
                "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]}
    return defaults | config


def names(folder):
    result = {}
    with torch.device("meta"):
        for kind, config in FULL.items():
            result[f"unet_{kind}"] = digest(listing(diffusers.UNet2DConditionModel.from_config(config)))
        result["vae"] = digest(listing(diffusers.AutoencoderKL.from_config(FULL_VAE)))
    for kind, config in FULL.items():
        result[f"ldm_{kind}"] = digest(ldm_names(full_config(config), FULL_VAE, 32))
    tiny = full_config(UNETS["sdxl"])
    (folder / "ldm_tiny.txt").write_text("".join(line + "\n" for line in ldm_names(tiny, VAE, 2)))
    (folder / "names.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/diffusion")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for kind in UNETS:
        unet(folder, kind)
    vae(folder)
    clip(folder, "clip", transformers.CLIPTextModel, hidden_act="quick_gelu")
    clip(folder, "clip_projection", transformers.CLIPTextModelWithProjection, hidden_act="gelu", projection_dim=16)
    clip(folder, "clip_old_end", transformers.CLIPTextModel, hidden_act="gelu", eos_token_id=2)
    open_clip(folder)
    names(folder)


if __name__ == "__main__":
    main()
