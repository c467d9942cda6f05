#!/usr/bin/env python3
"""Goldens of the diffusion layer: diffusers' schedulers driven by an analytic model, and the losses of its training utilities and of
kohya's sd-scripts (the latter's formulas transcribed, they are not a package)."""
import argparse
import importlib
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers import training_utils

from fixed_init import fixed

OUT = Path(__file__).resolve().parents[2] / "tests/golden/diffusion"
SHAPE = (1, 2, 2, 3)
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def noise(salt):
    return fixed(SHAPE, salt, math.sqrt(3)).float()


def numbers(tensor):
    """The shortest decimals that give back the same float32."""
    return [float(str(np.float32(value))) for value in torch.as_tensor(tensor).flatten().tolist()]


def run(name, config, steps, eta=0.0):
    """A trajectory with output = sin(1.3·input + t/1000); step i's noise has salt 100 + i."""
    cls = getattr(diffusers, name)
    scheduler = cls(**config)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # duplicated timesteps would else begin at the second
    module = importlib.import_module(cls.__module__)
    sample = noise(1) * getattr(scheduler, "init_noise_sigma", 1.0)
    samples = []
    for index, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        output = torch.sin(1.3 * scaled + float(t) / 1000)
        with mock.patch.object(module, "randn_tensor", lambda *_, **__: noise(100 + index)):
            extra = {"eta": eta} if eta else {}
            sample = scheduler.step(output, t, sample, **extra).prev_sample
        samples.append(sample)
    kept = sorted({0, steps // 2, steps - 1})
    record = {"config": {"_class_name": name, **config}, "steps": steps, "timesteps": numbers(scheduler.timesteps.double()),
              "initial_scale": float(getattr(scheduler, "init_noise_sigma", 1.0)),
              "samples": {str(index): numbers(samples[index]) for index in kept}}
    if hasattr(scheduler, "sigmas"):
        record["sigmas"] = numbers(scheduler.sigmas)
    assert all(np.isfinite(record["samples"][str(steps - 1)])), record
    return record | ({"eta": eta} if eta else {})


def grid(**axes):
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values))


SPACINGS = ["leading", "linspace", "trailing"]
PREDICTIONS = ["epsilon", "v_prediction", "sample"]


def ddpm():
    for c in grid(prediction_type=PREDICTIONS, timestep_spacing=SPACINGS):
        for steps in (5, 20):
            yield run("DDPMScheduler", SD | c | {"clip_sample": False, "steps_offset": 1}, steps)
    yield run("DDPMScheduler", {}, 20)
    yield run("DDPMScheduler", {"variance_type": "fixed_large", "clip_sample_range": 0.5}, 20)
    yield run("DDPMScheduler", {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}, 20)
    yield run("DDPMScheduler", SD | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 20)


def ddim():
    for c in grid(prediction_type=PREDICTIONS, timestep_spacing=SPACINGS):
        for steps in (5, 20):
            yield run("DDIMScheduler", SD | c | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}, steps)
    yield run("DDIMScheduler", {}, 20)
    for eta in (0.5, 1.0):
        yield run("DDIMScheduler", SD | {"clip_sample": False}, 20, eta)
    yield run("DDIMScheduler", {"beta_schedule": "squaredcos_cap_v2", "clip_sample_range": 2.0}, 20)
    for prediction in ("v_prediction", "sample"):
        yield run("DDIMScheduler", SD | {"prediction_type": prediction, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
                                         "clip_sample": False}, 20)
    # Timesteps that numpy's rounding decides: i·1000/48 is a half for every third i.
    yield run("DDIMScheduler", {"timestep_spacing": "trailing"}, 48)
    yield run("DDIMScheduler", {"trained_betas": [0.01 * (i + 1) for i in range(20)], "num_train_timesteps": 20}, 10)


def euler():
    for c in grid(prediction_type=PREDICTIONS, timestep_spacing=SPACINGS, use_karras_sigmas=[False, True]):
        for steps in (5, 20):
            yield run("EulerDiscreteScheduler", SD | c, steps)
    yield run("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min"}, 20)
    yield run("EulerDiscreteScheduler", {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}, 20)
    yield run("EulerDiscreteScheduler", {"beta_schedule": "squaredcos_cap_v2", "steps_offset": 1, "timestep_spacing": "leading"}, 20)
    yield run("EulerDiscreteScheduler", SD | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 20)


def euler_ancestral():
    for c in grid(prediction_type=["epsilon", "v_prediction"], timestep_spacing=SPACINGS):
        for steps in (5, 20):
            yield run("EulerAncestralDiscreteScheduler", SD | c | {"steps_offset": 1}, steps)
    yield run("EulerAncestralDiscreteScheduler", SD | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
                                                       "timestep_spacing": "trailing"}, 20)


def dpmpp_2m():
    name = "DPMSolverMultistepScheduler"
    for c in grid(prediction_type=PREDICTIONS, timestep_spacing=SPACINGS, use_karras_sigmas=[False, True]):
        for steps in (5, 20):
            yield run(name, SD | c, steps)
    for c in ({"solver_type": "heun"}, {"final_sigmas_type": "sigma_min"}, {"final_sigmas_type": "sigma_min", "lower_order_final": False},
              {"final_sigmas_type": "sigma_min", "euler_at_final": True}, {"steps_offset": 1, "timestep_spacing": "leading"},
              {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}):
        yield run(name, SD | c, 10)
        yield run(name, SD | c, 20)
    for karras in (False, True):
        yield run(name, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "use_karras_sigmas": karras}, 20)
    for shift in (1.0, 3.0):
        yield run(name, {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}, 20)


def flow_euler():
    for c in grid(shift=[1.0, 3.0], use_karras_sigmas=[False, True]):
        for steps in (1, 5, 20):
            yield run("FlowMatchEulerDiscreteScheduler", c, steps)


def schedules():
    """ᾱ, noisy samples and velocities of diffusers' DDPMScheduler, and compute_snr."""
    trained = {"trained_betas": [0.01 * (i + 1) for i in range(20)], "num_train_timesteps": 20}
    cases = []
    for config in ({}, SD, {"beta_schedule": "squaredcos_cap_v2"}, trained):
        for zero in (False, True):
            scheduler = diffusers.DDPMScheduler(**config, rescale_betas_zero_snr=zero)
            count = scheduler.config.num_train_timesteps
            timesteps = torch.tensor([0, 1, count // 4, count // 2, count - 2, count - 1])
            clean, noisy = fixed((6, 3), 5).float(), fixed((6, 3), 6).float()
            cases.append({"config": {"_class_name": "DDPMScheduler", **config, "rescale_betas_zero_snr": zero}, "timesteps": timesteps.tolist(),
                          "alpha_bars": numbers(scheduler.alphas_cumprod[timesteps]),
                          "snr": numbers(training_utils.compute_snr(scheduler, timesteps)),
                          "noisy": numbers(scheduler.add_noise(clean, noisy, timesteps)),
                          "velocity": numbers(scheduler.get_velocity(clean, noisy, timesteps))})
    return cases


def kohya_weights(snr, gamma=5.0, like=0.3):
    """library/custom_train_functions.py of sd-scripts: apply_snr_weight, apply_debiased_estimation, get_snr_scale, …"""
    smaller, bounded = torch.minimum(snr, torch.full_like(snr, gamma)), torch.minimum(snr, torch.full_like(snr, 1000.0))
    scale = bounded / (bounded + 1)
    return {"min_snr.epsilon": smaller / snr, "min_snr.v_prediction": smaller / (snr + 1),
            "debiased.epsilon": 1 / torch.sqrt(bounded), "debiased.v_prediction": 1 / (bounded + 1),
            "scaled.v_prediction": scale, "like.epsilon": 1 + 1 / scale * like}


def kohya_losses(scheduler, timesteps, output, target, c=0.1, scale=0.7):
    """library/train_util.py of sd-scripts: get_huber_threshold_if_needed and conditional_loss."""
    sigmas = ((1 - scheduler.alphas_cumprod[timesteps]) / scheduler.alphas_cumprod[timesteps]) ** 0.5
    thresholds = {"snr": (1 - c) / (1 + sigmas) ** 2 + c, "constant": torch.full_like(sigmas, c * scale),
                  "exponential": torch.exp(math.log(c) / scheduler.config.num_train_timesteps * timesteps) * scale}
    losses = {"l2": (output - target) ** 2, "l1": (output - target).abs()}
    for name, threshold in thresholds.items():
        bound = threshold.view(-1, 1)
        losses[f"huber.{name}"] = 2 * bound * (torch.sqrt((output - target) ** 2 + bound**2) - bound)
        losses[f"smooth_l1.{name}"] = 2 * (torch.sqrt((output - target) ** 2 + bound**2) - bound)
    return {name: loss.mean(1) for name, loss in losses.items()}


def densities():
    """compute_density_for_timestep_sampling with its random numbers replaced by a grid."""
    uniform, normal = torch.linspace(0, 0.95, 9), torch.linspace(-2, 2, 9)
    patched = SimpleNamespace(**{name: getattr(torch, name) for name in ("nn", "cos")}, rand=lambda **_: uniform,
                              normal=lambda mean, std, **_: mean + std * normal)
    draw = lambda scheme: training_utils.compute_density_for_timestep_sampling(scheme, 9, 0.2, 1.1, 1.29)
    with mock.patch.object(training_utils, "torch", patched):
        result = {scheme: numbers(draw(scheme)) for scheme in ("none", "logit_normal", "mode")}
    # library/flux_train_utils.py of sd-scripts: get_noisy_model_input_and_timesteps, sigmoid_scale 0.8, shift 3.
    sigmoid = torch.sigmoid(0.8 * normal)
    return result | {"sigmoid": numbers(sigmoid), "shift": numbers(sigmoid * 3 / (1 + 2 * sigmoid)), "uniform": numbers(uniform),
                     "normal": numbers(normal)}


def losses():
    scheduler = diffusers.DDPMScheduler(**SD)
    timesteps = torch.tensor([0, 1, 20, 400, 998, 999])
    output, target = fixed((6, 3), 7).float(), fixed((6, 3), 8).float()
    weights = kohya_weights(training_utils.compute_snr(scheduler, timesteps))
    per_sample = kohya_losses(scheduler, timesteps, output, target)
    sigmas = torch.tensor([0.02, 0.3, 0.5, 0.9, 1.0])
    sd3 = {name: numbers(training_utils.compute_loss_weighting_for_sd3(name, sigmas)) for name in ("none", "sigma_sqrt", "cosmap")}
    return {"config": {"_class_name": "DDPMScheduler", **SD}, "timesteps": timesteps.tolist(),
            "weights": {name: numbers(value) for name, value in weights.items()},
            "losses": {name: numbers(value) for name, value in per_sample.items()},
            "sigmas": numbers(sigmas), "sd3": sd3, "densities": densities()}


def full_files():
    """scheduler_config.json as diffusers writes it, every key, with Python's -Infinity where it writes that."""
    for name in ("DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
                 "PNDMScheduler", "FlowMatchEulerDiscreteScheduler"):
        (OUT / f"{name}.json").write_text(getattr(diffusers, name)().to_json_string())


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    versions = {"diffusers": diffusers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    for sampler in (ddpm, ddim, euler, euler_ancestral, dpmpp_2m, flow_euler):
        lines = ",\n".join(json.dumps(case) for case in sampler())
        (OUT / f"{sampler.__name__}.json").write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')
    record = {"versions": versions, "schedules": schedules(), "losses": losses()}
    (OUT / "training.json").write_text(json.dumps(record) + "\n")
    full_files()


if __name__ == "__main__":
    main()
