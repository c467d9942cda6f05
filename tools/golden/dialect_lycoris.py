"""Adapters of LyCORIS: made with its networks, and what its modules do to a layer's weight."""
import json

import lycoris.kohya
import torch

from dialect_models import TEXT_LAYERS, UNET_LAYERS, canonical, randomise, sd_parts

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
