#!/usr/bin/env python3
"""Writes tests/golden/diffusion/lora_step.safetensors: one training step of diffusers' LoRA scripts on the tiny UNets.

The loop is that of diffusers' examples/text_to_image/train_text_to_image_lora.py and its SDXL sibling: add_noise, UNet with PEFT's LoRA on
to_q, to_k, to_v and to_out.0, mean squared error, with --snr_gamma its weights. Latents, noise, text states, base weights and LoRA
tensors are by formula (tests/support/fixed_init.h); stored are losses and every LoRA tensor's gradient.
Run: OMP_NUM_THREADS=1 <reference venv>/bin/python tools/golden/diffusion_training.py
"""
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from diffusion_models import ROOT, UNETS, fill, fixed
from peft import LoraConfig
from safetensors.torch import save_file

RANK, ALPHA, GAMMA = 2, 3, 5.0
TIMESTEPS = torch.tensor([15, 740])
CASES = {"sd15": ("sd15", "epsilon", None), "sd15_v_snr": ("sd15", "v_prediction", GAMMA), "sdxl_snr": ("sdxl", "epsilon", GAMMA)}


def adapted_unet(kind):
    unet = fill(UNet2DConditionModel(**UNETS[kind])).requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    lora = {name.replace(".default.weight", ""): value for name, value in unet.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for salt, name in enumerate(sorted(lora)):
            lora[name].copy_(fixed(lora[name].shape, 2000 + salt, 0.5))
    return unet, lora


def step(kind, prediction, gamma):
    unet, lora = adapted_unet(kind)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction)
    latents, noise = fixed((2, 4, 8, 8), 1500, 1.5), fixed((2, 4, 8, 8), 1501, 1.7)
    states = fixed((2, 9, UNETS[kind]["cross_attention_dim"]), 1502)
    added = None
    if kind == "sdxl":
        added = {"text_embeds": fixed((2, 16), 1503), "time_ids": torch.tensor([[16., 20, 0, 2, 16, 16], [40, 30, 5, 0, 16, 16]])}
    noisy = scheduler.add_noise(latents, noise, TIMESTEPS)
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, TIMESTEPS)
    output = unet(noisy, TIMESTEPS, states, added_cond_kwargs=added, return_dict=False)[0]
    loss = torch.nn.functional.mse_loss(output.float(), target.float(), reduction="none").mean(dim=[1, 2, 3])
    if gamma is not None:
        snr = compute_snr(scheduler, TIMESTEPS)
        loss = loss * torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0] / (snr if prediction == "epsilon" else snr + 1)
    loss = loss.mean()
    loss.backward()
    return {"loss": loss.detach()[None]} | {name: value.grad for name, value in lora.items()}


def main():
    tensors = {}
    for case, about in CASES.items():
        tensors |= {f"{case}/{name}": value.contiguous() for name, value in step(*about).items()}
    save_file(tensors, ROOT / "tests/golden/diffusion/lora_step.safetensors")


if __name__ == "__main__":
    main()
