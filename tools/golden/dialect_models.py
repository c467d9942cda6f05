"""Tiny models with the layer names of SD 1.5 and SDXL, made from seeds, and the full-size ones without numbers."""
import logging
import warnings

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

UNET_LAYERS = [
    "conv_in", "time_embedding.linear_1", "down_blocks.0.resnets.0.time_emb_proj", "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.downsamplers.0.conv", "down_blocks.1.resnets.0.conv1", "down_blocks.1.resnets.0.conv_shortcut",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_v", "up_blocks.0.upsamplers.0.conv", "up_blocks.1.attentions.1.proj_out"]
XL_LAYERS = [
    "conv_in", "conv_out", "time_embedding.linear_2", "add_embedding.linear_1", "down_blocks.0.resnets.1.conv2",
    "down_blocks.0.downsamplers.0.conv", "down_blocks.1.attentions.0.proj_in", "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.2.attentions.1.transformer_blocks.1.attn1.to_q", "mid_block.resnets.1.conv1",
    "mid_block.attentions.0.transformer_blocks.1.attn2.to_k", "up_blocks.0.attentions.2.transformer_blocks.0.ff.net.2",
    "up_blocks.0.upsamplers.0.conv", "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", "up_blocks.2.resnets.0.conv1"]
TEXT_LAYERS = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.1.mlp.fc1"]


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


def quiet():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
