#!/usr/bin/env python3
"""The peer: transformers and PEFT taking the same steps as lowrank_step_bench: peer_peft.py JOB.json prints one JSON line.

Same adapter folder, batches, loss, clipping and AdamW; no dropout anywhere; each batch padded to its longest text. The job's
"settings" say in which dtype the model is loaded and which of the peer's faster ways it runs with: compile (torch.compile), dynamic
(compiled once for all shapes), fused (AdamW as one operation), flush (denormal numbers to zero), precision (of float32 products),
narrow_adapters (adapters in the model's dtype, not float32 as PEFT makes them).
"""
import json
import re
import sys
import time

import torch
from peft import PeftModel
from transformers import AutoConfig, BertForSequenceClassification


def load(job, settings, classes):
    config = AutoConfig.from_pretrained(job["model"], num_labels=classes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    base = BertForSequenceClassification.from_pretrained(job["model"], config=config, attn_implementation="sdpa",
                                                        dtype=getattr(torch, settings["dtype"]))
    model = PeftModel.from_pretrained(base, job["adapter"], is_trainable=True,
                                      autocast_adapter_dtype=not settings.get("narrow_adapters", False))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


def tensors(batch):
    longest = max(map(len, batch["ids"]))
    ids = torch.zeros(len(batch["ids"]), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(batch["ids"]):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    inputs = {"input_ids": ids, "labels": torch.tensor(batch["labels"])}
    if not bool(mask.all()):
        inputs["attention_mask"] = mask
    return inputs, int(mask.sum())


def own_name(name):
    """Our name of a PEFT parameter."""
    name = re.sub(r"\.(default|modules_to_save)(?=\.|$)", "", name.removeprefix("base_model.model."))
    return name.removesuffix(".weight") if re.search(r"\.lo(ra|kr)_", name) else name


def peak_bytes():
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    settings = job.get("settings", {})
    torch.set_num_threads(job["threads"])
    if "precision" in settings:
        torch.set_float32_matmul_precision(settings["precision"])
    if settings.get("flush"):
        torch.set_flush_denormal(True)
    with open(job["batches"]) as file:
        workload = json.load(file)
    model = load(job, settings, workload["classes"])
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for _, p in trained if sum(size > 1 for size in p.shape) > 1]
    others = [p for _, p in trained if sum(size > 1 for size in p.shape) <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=job["learning_rate"], fused=settings.get("fused", False))
    forward = torch.compile(model, dynamic=settings.get("dynamic")) if settings.get("compile") else model

    def step(inputs):
        loss = forward(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    batches = workload["batches"]
    if job["mode"] == "parity":
        from safetensors.torch import save_file
        model(**tensors(batches[0])[0]).loss.backward()
        save_file({own_name(name): p.grad.float().contiguous() for name, p in trained}, job["gradients"])
        optimizer.zero_grad()
    result = {"seconds": [], "tokens": [], "losses": [], "trained": sum(p.numel() for _, p in trained)}
    for i in range(job["warmup"] + job["steps"]):
        begin = time.monotonic()
        inputs, tokens = tensors(batches[i % len(batches)])
        result["losses"].append(step(inputs))
        if i == 0:
            result["first_step"] = time.monotonic() - job["started"]
        if i >= job["warmup"]:
            result["seconds"].append(time.monotonic() - begin)
            result["tokens"].append(tokens)
    result["peak_bytes"] = peak_bytes()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
