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
import copy
import hashlib
import json
import logging
import shutil
import warnings
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import diffusers
import lycoris
import lycoris.kohya
import peft
import safetensors.torch
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import StateDictType
from peft import LoKrConfig, LoraConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import fixed_init

UNET_LAYERS = [
    "conv_in", "time_embedding.linear_1", "down_blocks.0.resnets.0.time_emb_proj", "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.downsamplers.0.conv", "down_blocks.1.resnets.0.conv1", "down_blocks.1.resnets.0.conv_shortcut",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_v", "up_blocks.0.upsamplers.0.conv", "up_blocks.1.attentions.1.proj_out"]
ATTENTION = [name for name in UNET_LAYERS if ".attn" in name]
XL_LAYERS = [
    "conv_in", "conv_out", "time_embedding.linear_2", "add_embedding.linear_1", "down_blocks.0.resnets.1.conv2",
    "down_blocks.0.downsamplers.0.conv", "down_blocks.1.attentions.0.proj_in", "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.2.attentions.1.transformer_blocks.1.attn1.to_q", "mid_block.resnets.1.conv1",
    "mid_block.attentions.0.transformer_blocks.1.attn2.to_k", "up_blocks.0.attentions.2.transformer_blocks.0.ff.net.2",
    "up_blocks.0.upsamplers.0.conv", "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", "up_blocks.2.resnets.0.conv1"]
TEXT_LAYERS = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.1.mlp.fc1"]

LYCORIS = {
    "locon": dict(algo="lora", conv_dim=3, conv_alpha=2),
    "locon_tucker": dict(algo="lora", use_tucker=True),
    "loha": dict(algo="loha"),
    "loha_tucker": dict(algo="loha", use_tucker=True),
    "lokr": dict(algo="lokr", factor=2),
    "lokr_auto": dict(algo="lokr"),
    "lokr_both": dict(algo="lokr", factor=8, decompose_both=True),
    "lokr_whole": dict(algo="lokr", factor=4, full_matrix=True),
    "lokr_tucker": dict(algo="lokr", factor=2, use_tucker=True),
    "lokr_unbalanced": dict(algo="lokr", factor=2, unbalanced_factorization=True),
    "dora": dict(algo="lora", dora_wd=True),
    "dora_input": dict(algo="lora", dora_wd=True, wd_on_output=False),
    "dora_lokr": dict(algo="lokr", factor=2, dora_wd=True),
    "full": dict(algo="full"),
}


def clip(cls, seed, width=8, projection=8):
    torch.manual_seed(seed)
    return cls(CLIPTextConfig(vocab_size=64, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2, num_attention_heads=2,
                              max_position_embeddings=16, projection_dim=projection, eos_token_id=63, bos_token_id=0)).eval()


def sd_parts():
    torch.manual_seed(7)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4)
    return {"unet": unet.eval(), "text_encoder": clip(CLIPTextModel, 8)}


def xl_parts():
    torch.manual_seed(9)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16, 16), layers_per_block=2, use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), transformer_layers_per_block=(1, 2, 2),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, attention_head_dim=4,
        norm_num_groups=4, addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=32)
    return {"unet": unet.eval(), "text_encoder": clip(CLIPTextModel, 10), "text_encoder_2": clip(CLIPTextModelWithProjection, 11)}


def tiny_vae():
    torch.manual_seed(12)
    return AutoencoderKL(block_out_channels=(4,), norm_num_groups=4, latent_channels=4).eval()


def sd_pipeline():
    return StableDiffusionPipeline(**sd_parts(), vae=tiny_vae(), tokenizer=None, scheduler=DDIMScheduler(), safety_checker=None,
                                   feature_extractor=None, requires_safety_checker=False)


def xl_pipeline():
    return StableDiffusionXLPipeline(**xl_parts(), vae=tiny_vae(), tokenizer=None, tokenizer_2=None, scheduler=DDIMScheduler())


def canonical(component, path):
    """The checkpoint's path, which in text encoders starts with "text_model.", as not every release of transformers has it."""
    bare = component.startswith("text_encoder") and not path.startswith(("text_model.", "text_projection"))
    return f"{component}.{'text_model.' if bare else ''}{path}"


def live(component, path, root):
    return path if component == "unet" or not hasattr(root, "text_model") else f"text_model.{path}"


def randomise(named):
    for name, parameter in named:
        with torch.no_grad():
            if "magnitude" in name or "dora_scale" in name:
                parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))


def lycoris_effect(module):
    """W' − W as the module's own forward applies it."""
    seen, op, org = [], module.op, module.org_module[0]
    module.op = lambda x, weight, *rest, **kw: seen.append(weight.detach().clone()) or op(x, weight, *rest, **kw)
    x = torch.zeros(1, org.in_channels, 8, 8) if isinstance(org, torch.nn.Conv2d) else torch.zeros(1, org.in_features)
    module.org_forward = org.forward
    with torch.no_grad():
        module.forward(x)
    module.op = op
    return seen[-1]


def full_effect(module):
    return module.weight.detach().clone()


PRESET = {"enable_conv": True, "unet_target_module": [], "unet_target_name": UNET_LAYERS, "text_encoder_target_module": [],
          "text_encoder_target_name": TEXT_LAYERS}


def lycoris_network(parts, arguments, rank, alpha=3):
    lycoris.kohya.PRESET["layers"] = PRESET
    return lycoris.kohya.create_network(1.0, rank, alpha, None, parts["text_encoder"], parts["unet"], preset="layers", **arguments)


def lycoris_rank(name):
    return 1 if name == "lokr_both" else 2


def make_lycoris(name, arguments, dtype=None, alpha=3):
    parts, rank = sd_parts(), lycoris_rank(name)
    torch.manual_seed(20 + len(name))
    network = lycoris_network(parts, arguments, rank, alpha)
    modules = network.unet_loras + network.text_encoder_loras
    assert len(modules) == len(UNET_LAYERS) + len(TEXT_LAYERS), len(modules)
    network.unet_loras, network.text_encoder_loras = [], []
    state, expected = {}, {}
    for module in modules:
        randomise(module.named_parameters())
        if dtype is not None:
            module.to(dtype).float()
    paths = {id(layer): (component, path) for component, root in parts.items() for path, layer in root.named_modules()}
    for module in modules:
        key = canonical(*paths[id(module.org_module[0])])
        whole = arguments["algo"] == "full"
        module_state = {"diff": module.weight.detach(), "diff_b": module.bias.detach()} if whole and module.bias is not None else (
            {"diff": module.weight.detach()} if whole else module.state_dict())
        for leaf, value in module_state.items():
            state[f"{module.lora_name}.{leaf}"] = value.detach().clone().to(dtype or value.dtype).contiguous()
        expected[key] = (full_effect if whole else lycoris_effect)(module).contiguous()
        if arguments.get("dora_wd"):
            expected[key + ".base"] = module.org_module[0].weight.detach().clone()
    text = {key: str(value) for key, value in arguments.items()}
    metadata = {"ss_network_module": "lycoris.kohya", "ss_network_dim": str(rank), "ss_network_alpha": str(alpha),
                "ss_network_args": json.dumps(text), "ss_base_model_version": "sd_v1", "ss_output_name": name}
    return state, metadata, expected


def add_peft(parts, config_of):
    """Adapters on the parts with random tensors; W' − W of every adapted layer."""
    for component, root in parts.items():
        root.add_adapter(config_of(component, root))
        randomise((name, value) for name, value in root.named_parameters() if value.requires_grad)
    return {key: value for component, root in parts.items() for key, value in peft_effects(component, root).items()}


def peft_effects(component, root, with_base=False):
    found = {}
    for path, layer in root.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        with torch.no_grad():
            before = layer.base_layer.weight.detach().clone()
            twin = copy.deepcopy(layer)
            twin.merge()
            found[canonical(component, path)] = (twin.base_layer.weight - before).contiguous()
        if with_base or any("magnitude" in name for name, _ in layer.named_parameters()):
            found[canonical(component, path) + ".base"] = before
    return found


def targets(component, root):
    return [live(component, path, root) for path in TEXT_LAYERS] if component != "unet" else UNET_LAYERS


def lora_config(component, root, **more):
    return LoraConfig(r=2, lora_alpha=3, target_modules=targets(component, root), init_lora_weights=False, **more)


def mixed_config(component, root):
    if component != "unet":
        return lora_config(component, root)
    return lora_config(component, root, rank_pattern={"^conv_in": 4, "attn2.to_k": 3}, alpha_pattern={"attn2.to_k": 1.5})


def save_diffusers(folder, parts, metadata=True):
    arguments = {}
    for component, root in parts.items():
        arguments[f"{component}_lora_layers"] = get_peft_model_state_dict(root)
        if metadata:
            config = root.peft_config["default"].to_dict()
            arguments[f"{component}_lora_adapter_metadata"] = {key: sorted(value) if isinstance(value, set) else value
                                                               for key, value in config.items()}
    pipeline = StableDiffusionXLPipeline if "text_encoder_2" in parts else StableDiffusionPipeline
    pipeline.save_lora_weights(folder, **arguments)
    return safetensors.torch.load_file(folder / "pytorch_lora_weights.safetensors"), read_metadata(folder / "pytorch_lora_weights.safetensors")


def read_metadata(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


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


def old_spelling(state):
    """As diffusers wrote files before PEFT: attention processors in the UNet, lora_linear_layer in the text encoder."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("unet.") and ".attn" in key:
            head, tail = key.split(".to_", 1)
            name, factor = tail.split(".lora_")
            renamed[f"{head}.processor.to_{name.split('.')[0]}_lora.{'down' if factor[0] == 'A' else 'up'}.weight"] = value
        elif key.startswith("unet."):
            renamed[key.replace("lora_A", "lora.down").replace("lora_B", "lora.up")] = value
        else:
            renamed.update(convert_state_dict_to_diffusers({key: value}, original_type=StateDictType.PEFT))
    return renamed


# --- kohya's naming ---------------------------------------------------------------------------------------------------

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


def loaded_effects(pipeline, path):
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    found = {}
    for component in ("unet", "text_encoder", "text_encoder_2"):
        if getattr(pipeline, component, None) is not None:
            found.update(peft_effects(component, getattr(pipeline, component)))
    return found


def lycoris_names(state, parts):
    """LyCORIS looks names up in the live model, whose text encoder has no text_model in newer transformers."""
    bare = not hasattr(parts["text_encoder"], "text_model")
    return {key.replace("lora_te_text_model_", "lora_te_") if bare else key: value for key, value in state.items()}


def by_lycoris(parts, state):
    """W' − W of a file as LyCORIS loads it."""
    state = lycoris_names(state, parts)
    lycoris.kohya.LycorisNetworkKohya.apply_preset(PRESET)  # its own default names a diffusers UNet's time embedding twice
    network, _ = lycoris.kohya.create_network_from_weights(1.0, None, None, parts["text_encoder"], parts["unet"], weights_sd=state)
    paths = {id(layer): canonical(component, path) for component, root in parts.items() for path, layer in root.named_modules()}
    return {paths[id(module.org_module[0])]: lycoris_effect(module).contiguous() for module in network.unet_loras + network.text_encoder_loras}


# --- all of them ------------------------------------------------------------------------------------------------------

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


def flattened_text(state):
    """convert_state_dict_to_kohya keeps whatever path it gets; kohya's files have CLIP's text_model."""
    return {canonical("text_encoder", key.removeprefix("text_encoder.")) if key.startswith("text_encoder.") else key: value
            for key, value in state.items()}


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


def full_size_layers(root, component):
    """"path out columns kernel" of every layer with a weight."""
    lines = []
    for path, layer in root.named_modules():
        weight = getattr(layer, "weight", None)
        if weight is not None:
            window = weight.shape[2] if weight.dim() == 4 else 0
            columns = 1 if weight.dim() == 1 else weight[0].numel()
            lines.append(f"{canonical(component, path)} {weight.shape[0]} {columns} {window}")
    return lines


def full_size_models():
    common = dict(in_channels=4, out_channels=4, layers_per_block=2, sample_size=64)
    with torch.device("meta"):
        def text(cls, width, layers, heads):
            return cls(CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
                                      vocab_size=49408, max_position_embeddings=77, projection_dim=width))
        return {
            "sd15": {"unet": UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, **common),
                     "text_encoder": text(CLIPTextModel, 768, 12, 12)},
            "sdxl": {"unet": UNet2DConditionModel(
                block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=(5, 10, 20), use_linear_projection=True,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), transformer_layers_per_block=(1, 2, 10),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), addition_embed_type="text_time",
                addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816, **common),
                "text_encoder": text(CLIPTextModel, 768, 12, 12), "text_encoder_2": text(CLIPTextModelWithProjection, 1280, 32, 20)}}


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


def quiet():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()


if __name__ == "__main__":
    main()
