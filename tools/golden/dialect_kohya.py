"""kohya's naming and hashes, written from their description, since there is no package of them."""
import hashlib
from io import BytesIO

import safetensors.torch
import torch

from dialect_models import TEXT_LAYERS, canonical, live


def sgm_name(path):
    """The original name of an SDXL UNet layer, for two ResNet blocks a level."""
    fixed = {"conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
             "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    if path in fixed:
        return fixed[path]
    inside = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    block, rest = path.split(".", 1)
    if block == "mid_block":
        kind, number, tail = rest.split(".", 2)
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{inside.get(tail, tail)}"
    level, kind, number, tail = rest.split(".", 3)
    level, number = int(level), int(number)
    if kind == "downsamplers":
        return f"input_blocks.{3 * level + 3}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{3 * level + 2}.2.conv"
    index = 3 * level + number + (1 if block == "down_blocks" else 0)
    side = "input_blocks" if block == "down_blocks" else "output_blocks"
    return f"{side}.{index}.{1 if kind == 'attentions' else 0}.{inside.get(tail, tail)}"


def kohya_prefix(component, xl):
    return {"unet": "lora_unet_", "text_encoder": "lora_te1_" if xl else "lora_te_", "text_encoder_2": "lora_te2_"}[component]


def make_kohya(parts, layers, xl, seed, alphas=True, dtype=torch.float32):
    """Random LoRA and LoCon tensors of mixed ranks; every third alpha is left out unless all are wanted. One alpha for SDXL: of
    several, diffusers takes the commonest for all attention layers."""
    torch.manual_seed(seed)
    state = {}
    for component, root in parts.items():
        for number, path in enumerate(layers if component == "unet" else TEXT_LAYERS):
            layer = root.get_submodule(live(component, path, root))
            rank = 2 + number % 3
            name = sgm_name(path) if xl and component == "unet" else canonical(component, path).removeprefix(component + ".")
            stem = kohya_prefix(component, xl) + name.replace(".", "_")
            shape = tuple(layer.weight.shape)
            window = shape[2:]
            state[f"{stem}.lora_down.weight"] = 0.3 * torch.randn(rank, shape[1], *window)
            state[f"{stem}.lora_up.weight"] = 0.3 * torch.randn(shape[0], rank, *[1] * len(window))
            if alphas or number % 3:
                state[f"{stem}.alpha"] = torch.tensor(3.5 if xl else 0.5 + number)
    return {key: value.to(dtype) for key, value in state.items()}


def kohya_hashes(state, metadata):
    """As kohya's train_util.precalculate_safetensors_hashes describes: serialise with the ss_ keys, hash the body and a window."""
    data = safetensors.torch.save(state, {key: value for key, value in metadata.items() if key.startswith("ss_")})
    body = data[8 + int.from_bytes(data[:8], "little"):]
    window = BytesIO(data)
    window.seek(0x100000)
    return {"model": hashlib.sha256(body).hexdigest(), "legacy": hashlib.sha256(window.read(0x10000)).hexdigest()[:8]}
