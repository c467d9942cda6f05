#!/usr/bin/env python3
"""Writes tests/golden/generate: pictures that diffusers' pipelines make with tiny models, from given latents.

<kind>.json has the configurations and the cases, <kind>.safetensors text states and pictures. Weights are by formula, as in
diffusion_models.py; the tokenizer is the small one of tests/golden/text/clip_files, padding with "!" as SDXL's second.
Run: OMP_NUM_THREADS=1 <reference venv>/bin/python tools/golden/sampling.py
"""
import json
import logging

import diffusers
import torch
import transformers
from diffusion_models import CLIP, ROOT, UNETS, VAE, VERSIONS, fill, fixed
from safetensors.torch import save_file

GOLDEN = ROOT / "tests/golden/generate"
TOKENIZER = ROOT / "tests/golden/text/clip_files"
PROMPT, NEGATIVE = "a Naïve photograph of the 3 pumpkins, it's dark", "blurry library documentation"
LONG = " ".join(["development of a library for Linux files"] * 9)
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False,
             "set_alpha_to_one": False}
SAMPLERS = {"ddim": diffusers.DDIMScheduler, "euler": diffusers.EulerDiscreteScheduler, "dpmpp_2m": diffusers.DPMSolverMultistepScheduler}
HEIGHT, WIDTH = 16, 24


def clip(make, **changes):
    tokens = len(json.loads((TOKENIZER / "vocab.json").read_text()))
    about = CLIP | {"vocab_size": tokens, "max_position_embeddings": 77, "bos_token_id": tokens - 2, "eos_token_id": tokens - 1,
                    "pad_token_id": tokens - 1}
    model = fill(make(transformers.CLIPTextConfig(**(about | changes), attn_implementation="eager")))
    config = json.loads(model.config.to_json_string(use_diff=False)) | {"architectures": [type(model).__name__]}
    return model, config


def build(kind):
    unet = fill(diffusers.UNet2DConditionModel.from_config(UNETS[kind]))
    vae = fill(diffusers.AutoencoderKL.from_config(VAE | {"latent_channels": 4}))
    text, text_config = clip(transformers.CLIPTextModel)
    parts = {"unet": unet, "vae": vae, "text_encoder": text, "tokenizer": transformers.CLIPTokenizer.from_pretrained(TOKENIZER),
             "scheduler": diffusers.DDIMScheduler(**SCHEDULER)}
    configs = {"unet": dict(unet.config), "vae": dict(vae.config), "text_encoder": text_config}
    if kind == "sdxl":
        second, configs["text_encoder_2"] = clip(transformers.CLIPTextModelWithProjection, hidden_size=8, num_attention_heads=2, projection_dim=16)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!")
        pipeline = diffusers.StableDiffusionXLPipeline(**parts, text_encoder_2=second, tokenizer_2=tokenizer, add_watermarker=False)
    else:
        pipeline = diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    configs["model_index"] = {"_class_name": type(pipeline).__name__} | {key: value for key, value in pipeline.config.items() if key != "_name_or_path"}
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, configs


def states(pipeline, kind, prompt, negative):
    """Text states as the pipeline makes them: positive, negative, and of SDXL both pooled ones."""
    named = ["positive", "negative", "positive_pooled", "negative_pooled"]
    found = pipeline.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True, negative_prompt=negative)
    return dict(zip(named, found))


def make(kind):
    pipeline, configs = build(kind)
    latents = fixed((1, 4, HEIGHT // 2, WIDTH // 2), 700, 3 ** 0.5)
    tensors = {"latents": latents} | states(pipeline, kind, PROMPT, NEGATIVE)
    tensors |= {f"empty_{key}": value for key, value in states(pipeline, kind, PROMPT, None).items()}
    if kind == "sdxl":  # of SD 1.5 this fails in diffusers 0.42.1 with transformers 5
        tensors["skip1"] = pipeline.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False, clip_skip=1)[0]
    cases = []
    runs = [(name, dict(negative=NEGATIVE, cfg=6.5, steps=5), {}) for name in SAMPLERS]
    runs += [("ddim", dict(negative="", cfg=1.0, steps=3), {}), ("dpmpp_2m", dict(negative="", cfg=4.0, steps=6), {"use_karras_sigmas": True})]
    for number, (name, case, changes) in enumerate(runs):
        pipeline.scheduler = SAMPLERS[name].from_config(SCHEDULER | changes)
        picture = pipeline(PROMPT, negative_prompt=case["negative"] or None, guidance_scale=case["cfg"], num_inference_steps=case["steps"],
                           latents=latents.clone(), height=HEIGHT, width=WIDTH, output_type="pt").images
        assert picture.std() > 0.05 and picture.shape == (1, 3, HEIGHT, WIDTH), (name, picture.std(), picture.shape)
        tensors[f"picture{number}"] = picture
        cases.append(case | {"scheduler": {"_class_name": type(pipeline.scheduler).__name__} | dict(pipeline.scheduler.config), "sampler": name})
    about = {"made_by": "tools/golden/sampling.py"} | VERSIONS
    plain = lambda config: {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
    golden = {"about": about, "prompt": PROMPT, "negative": NEGATIVE, "long": LONG,
              "configs": {key: plain(value) for key, value in configs.items()}, "cases": [case | {"scheduler": plain(case["scheduler"])} for case in cases]}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{kind}.json").write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    save_file({key: value.detach().contiguous().clone() for key, value in tensors.items()}, GOLDEN / f"{kind}.safetensors")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for name in ("sd15", "sdxl"):
        make(name)
