#!/usr/bin/env python3
"""The peer: diffusers' UNet with PEFT's or LyCORIS' adapters, taking the same steps as lowrank_unet_bench: peer_diffusers.py JOB.json,
with the same modes "parity", "steps" and "sampling", on the job's "device".

Same weights, adapters, latents, noise, timestep, text states, loss, clipping and AdamW. A row's "library" is peft or lycoris. The job's
"settings": channels_last (of the model), fused (AdamW as one operation), flush (denormal numbers to zero), narrow_adapters (in the
model's dtype, not float32), autocast (PyTorch's mixed precision around the forward pass).
"""
import contextlib
import json
import re
import sys
import time

import diffusers
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from peft import LoKrConfig, LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file

diffusers.logging.set_verbosity_error()


def device_of(job):
    return job.get("device", "cpu")


def synchronize(job):
    if device_of(job) != "cpu":
        torch.cuda.synchronize()


def read_unet(job, dtype):
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(job["config"]))
    unet.load_state_dict({name: tensor.to(device_of(job), dtype) for name, tensor in load_file(job["weights"]).items()}, assign=True)
    return unet.requires_grad_(False).train()


def is_target(name, targets):
    return any(name == target or name.endswith("." + target) for target in targets)


def add_peft(unet, config):
    if config["method"] == "lokr":
        made = LoKrConfig(r=config["rank"], alpha=config["alpha"], target_modules=config["target-modules"], decompose_factor=config["factor"])
    else:
        made = LoraConfig(r=config["rank"], lora_alpha=config["alpha"], target_modules=config["target-modules"],
                          use_dora=config["method"] == "dora")
    inject_adapter_in_model(made, unet)

    def own_name(name):
        name = name.replace(".default", "")
        return name.removesuffix(".weight") if re.search(r"\.lo(ra|kr)_", name) else name

    return {own_name(name): p for name, p in unet.named_parameters() if p.requires_grad}


def add_lycoris(unet, config):
    from lycoris import LycorisNetwork
    from lycoris.logging import logger
    logger.setLevel("ERROR")  # it writes to the standard output, where the seconds go
    names = [name for name, module in unet.named_modules() if is_target(name, config["target-modules"])]
    LycorisNetwork.apply_preset({"enable_conv": True, "target_module": [], "target_name": names})
    rank, alpha = config["rank"], config["alpha"]
    network = LycorisNetwork(unet, 1.0, lora_dim=rank, conv_lora_dim=rank, alpha=alpha, conv_alpha=alpha, network_module=config["method"],
                             factor=config.get("factor", -1))
    network.apply_to()
    by_joined = {"lycoris_" + name.replace(".", "_"): name for name in names}
    ours = {"lora_down.weight": "lora_A", "lora_up.weight": "lora_B"}
    unet.lycoris = network
    return {f"{by_joined[lora.lora_name]}.{ours.get(name, name)}": p for lora in network.loras for name, p in lora.named_parameters()}


class Row:
    def __init__(self, unet, row, job, settings):
        self.settings, self.job = settings, job
        self.unet = unet
        self.before = dict(unet.named_modules())
        config = row["config"]
        self.trained = (add_lycoris if row.get("library") == "lycoris" else add_peft)(unet, config)
        dtype = next(unet.parameters()).dtype
        with torch.no_grad():
            stored = load_file(row["adapter"])
            if stored.keys() != self.trained.keys():
                raise SystemExit(f"other tensors train: {sorted(stored.keys() ^ self.trained.keys())[:6]}")
            for name, parameter in self.trained.items():
                value = stored[name].reshape(parameter.shape)
                parameter.data = value.to(device_of(job), dtype if settings.get("narrow_adapters") else torch.float32)
        parameters = list(self.trained.values())
        matrices = [p for p in parameters if sum(size > 1 for size in p.shape) > 1]
        others = [p for p in parameters if sum(size > 1 for size in p.shape) <= 1]
        self.optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                           lr=job["learning_rate"], fused=settings.get("fused", False))
        inputs = {name: tensor.to(device_of(job)) for name, tensor in load_file(job["inputs"]).items()}
        self.latents, self.noise, self.states = inputs["latents"], inputs["noise"], inputs["states"].to(dtype)
        self.dtype = dtype
        self.scheduler = diffusers.DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    def remove(self):
        if hasattr(self.unet, "lycoris"):
            self.unet.lycoris.restore()
            del self.unet.lycoris
        for name, module in self.before.items():
            parent, _, child = name.rpartition(".")
            if name and parent in self.before:
                setattr(self.before[parent], child, module)

    def backward(self):
        times = torch.full((len(self.latents),), int(self.job["timestep"]), device=self.latents.device)
        noisy = self.scheduler.add_noise(self.latents, self.noise, times).to(self.dtype)
        if self.settings.get("channels_last"):
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        mixed = torch.autocast(self.latents.device.type, torch.bfloat16) if self.settings.get("autocast") else contextlib.nullcontext()
        with mixed:
            output = self.unet(noisy, times, encoder_hidden_states=self.states, return_dict=False)[0]
        loss = F.mse_loss(output.float(), self.noise)
        loss.backward()
        return loss.item()

    def step(self):
        loss = self.backward()
        torch.nn.utils.clip_grad_norm_(list(self.trained.values()), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def gradients(self, like):
        return {name: p.grad.float().reshape(like[name].shape).contiguous().cpu() for name, p in self.trained.items()}


def peak_bytes(job):
    if device_of(job) != "cpu":
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])


def take_steps(job, row):
    losses, first = [], None
    if device_of(job) != "cpu":
        torch.cuda.reset_peak_memory_stats()
    for line in sys.stdin:
        if line == "next\n":
            break
        begin = time.monotonic()
        losses.append(row.step())
        synchronize(job)
        first = first or time.monotonic()
        print(f"{time.monotonic() - begin:.6f}", flush=True)
    return {"losses": losses, "first_step": first - job["started"], "peak_bytes": peak_bytes(job),
            "trained": sum(p.numel() for p in row.trained.values())}


@torch.no_grad()
def draw(job, unet, settings):
    inputs = {name: tensor.to(device_of(job)) for name, tensor in load_file(job["inputs"]).items()}
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                                        clip_sample=False, set_alpha_to_one=False)
    states = torch.cat([inputs["negative"], inputs["states"]]).to(unet.dtype)
    for _ in sys.stdin:
        begin, latents = time.monotonic(), inputs["noise"]
        scheduler.set_timesteps(job["sampling_steps"])
        for t in scheduler.timesteps:
            seen = torch.cat([latents] * 2).to(unet.dtype)
            if settings.get("channels_last"):
                seen = seen.contiguous(memory_format=torch.channels_last)
            negative, positive = unet(seen, t, encoder_hidden_states=states, return_dict=False)[0].float().chunk(2)
            latents = scheduler.step(negative + job["cfg"] * (positive - negative), t, latents, return_dict=False)[0]
        synchronize(job)
        print(f"{time.monotonic() - begin:.6f}", flush=True)
    save_file({"latents": latents.contiguous().cpu()}, job["latents"])
    return {"peak_bytes": peak_bytes(job)}


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    settings = job.get("settings", {})
    torch.set_num_threads(job["threads"])
    if job["mode"] != "steps":  # where numbers are compared; steps may take the fastest way
        torch.backends.cudnn.allow_tf32 = False
    if settings.get("flush"):
        torch.set_flush_denormal(True)
    unet = read_unet(job, getattr(torch, job["dtype"]))
    if settings.get("channels_last"):
        unet = unet.to(memory_format=torch.channels_last)
    results = [draw(job, unet, settings)] if job["mode"] == "sampling" else []
    for entry in job["rows"]:
        row = Row(unet, entry, job, settings)
        if job["mode"] == "parity":
            results.append(row.backward())
            save_file(row.gradients(load_file(entry["adapter"])), entry["gradients"])
        else:
            results.append(take_steps(job, row))
        row.remove()
    print(json.dumps({"rows": results}))


if __name__ == "__main__":
    main()
