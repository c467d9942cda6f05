"""Adapters of PEFT and diffusers: added to parts, saved as diffusers spells them now and did before, and what they do to a weight."""
import copy

import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from diffusers.utils.state_dict_utils import StateDictType
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer

from dialect_models import TEXT_LAYERS, UNET_LAYERS, canonical, live, randomise


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


def flattened_text(state):
    """convert_state_dict_to_kohya keeps whatever path it gets; kohya's files have CLIP's text_model."""
    return {canonical("text_encoder", key.removeprefix("text_encoder.")) if key.startswith("text_encoder.") else key: value
            for key, value in state.items()}


def loaded_effects(pipeline, path):
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    found = {}
    for component in ("unet", "text_encoder", "text_encoder_2"):
        if getattr(pipeline, component, None) is not None:
            found.update(peft_effects(component, getattr(pipeline, component)))
    return found
