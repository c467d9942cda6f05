#!/usr/bin/env python3
"""Writes tests/golden/models: tiny encoders with heads, and what transformers computes with them.

A folder <family>_<head> is a model folder (config.json, model.safetensors) with expected.safetensors: ids, type_ids and
offsets of a packed batch, labels, logits, loss, hidden [N, D] of the last layer, pooled embeddings, grad.<parameter> of
every parameter, and the logits of a text that holds the padding id. minilm.safetensors holds the same of
all-MiniLM-L6-v2 (--minilm) in brief: sentence-transformers' embeddings of ten sentences; with a formula-made head the
logits, and of each gradient its norm, largest entry and 16 samples.
Run: OMP_NUM_THREADS=1 <reference venv>/bin/python tools/golden/models.py --minilm <model folder>
"""
import argparse
import json
from pathlib import Path

import sentence_transformers
import torch
import transformers
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__,
            "sentence_transformers": sentence_transformers.__version__}
LENGTHS = [7, 1, 12, 3, 9]
HEADS = {
    "single": ("single_label_classification", ["red", "green", "blue", "rather green"]),
    "multi": ("multi_label_classification", ["a", "b", "c"]),
    "regression": ("regression", ["score"]),
}
ACTIVATIONS = {
    "bert": {"single": "gelu", "multi": "gelu_new", "regression": "relu"},
    "distilbert": {"single": "gelu", "multi": "silu", "regression": "relu"},
    "roberta": {"single": "gelu", "multi": "gelu_pytorch_tanh", "regression": "silu"},
}
SENTENCES = [
    "A command line tool that draws charts from CSV files.",
    "GNU C++ compiler for the arm64 architecture",
    "The cat sat on the mat.",
    "Le chat est assis sur le tapis; déjà vu!",
    "fonts",
    "Python bindings to the SQLite database engine, with support for asynchronous access and for user-defined "
    "functions",
    "How do I cook rice?",
    "Rice is boiled in water for about twelve minutes.",
    "3D shooter in which a penguin saves the world (data files)",
    "x",
]


def config_of(family, head):
    problem, labels = HEADS[head]
    about = {"problem_type": problem, "id2label": dict(enumerate(labels)),
             "label2id": {n: i for i, n in enumerate(labels)}, "vocab_size": 64, "max_position_embeddings": 16,
             "attn_implementation": "eager"}
    layers, inner = (3, 24) if head == "multi" else (2, 40)
    activation = ACTIVATIONS[family][head]
    if family == "distilbert":
        return transformers.DistilBertConfig(dim=32, n_layers=layers, n_heads=4, hidden_dim=inner,
                                             activation=activation, **about)
    make = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[family]
    return make(hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=inner,
                hidden_act=activation, type_vocab_size=2 if family == "bert" else 1,
                layer_norm_eps=1e-12 if family == "bert" else 1e-5, **about)


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_norm else 0.2 * noise)


def batch_of(sequences, types, pad):
    longest = max(map(len, sequences))
    fill = lambda rows, value: torch.tensor([row + [value] * (longest - len(row)) for row in rows])
    return {"input_ids": fill(sequences, pad), "attention_mask": fill([[1] * len(s) for s in sequences], 0),
            "token_type_ids": fill(types, 0)}


def packed(states, sequences):
    return torch.cat([states[b, : len(s)] for b, s in enumerate(sequences)])


def save(tensors, path, about):
    # One metadata key: several are written in an order that changes from run to run.
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path,
              {"about": json.dumps(about, ensure_ascii=False)})


def offsets_of(sequences):
    return torch.tensor([0] + [len(s) for s in sequences]).cumsum(0)


def tiny(family, head, folder):
    config = config_of(family, head)
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    seed = 1000 + 10 * list(ACTIVATIONS).index(family) + list(HEADS).index(head)
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 500)
    sequences = [torch.randint(5, 64, (n,), generator=generator).tolist() for n in LENGTHS]
    types = [[int(family == "bert" and 2 * t >= n) for t in range(n)] for n in LENGTHS]
    labels = {"single": torch.tensor([0, 3, 1, 2, 3]),
              "multi": torch.randint(0, 2, (5, 3), generator=generator).float(),
              "regression": torch.randn(5, generator=generator)}[head]
    inputs = batch_of(sequences, types, config.pad_token_id)
    if family == "distilbert":
        del inputs["token_type_ids"]
    output = model(**inputs, labels=labels, output_hidden_states=True)
    output.loss.backward()
    hidden, mask = output.hidden_states[-1], inputs["attention_mask"].unsqueeze(-1)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    expected = {"ids": torch.tensor(sum(sequences, [])), "type_ids": torch.tensor(sum(types, [])),
                "offsets": offsets_of(sequences), "labels": labels, "logits": output.logits, "loss": output.loss,
                "hidden": packed(hidden, sequences), "mean": mean,
                "cls_normalised": torch.nn.functional.normalize(hidden[:, 0], dim=1)}
    pad = config.pad_token_id
    expected["ids_with_pad"] = torch.tensor([9, pad, 8, 7, pad, pad, 6])
    with torch.no_grad():
        ids = expected["ids_with_pad"][None]
        expected["logits_with_pad"] = model(ids, attention_mask=torch.ones_like(ids)).logits
    expected |= {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    model.save_pretrained(folder)
    for extra in set(folder.iterdir()) - {folder / "config.json", folder / "model.safetensors"}:
        extra.unlink()
    save(expected, folder / "expected.safetensors", VERSIONS)


def minilm(folder, path):
    reference = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    embeddings = torch.from_numpy(reference.encode(SENTENCES, batch_size=4))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sequences = [tokenizer(text)["input_ids"] for text in SENTENCES]
    model = transformers.BertForSequenceClassification.from_pretrained(
        folder, num_labels=5, problem_type="single_label_classification", attn_implementation="eager").eval()
    with torch.no_grad():
        row, column = torch.meshgrid(torch.arange(5), torch.arange(384), indexing="ij")
        model.classifier.weight.copy_(((row * 37 + column * 17) % 101 - 50) / 1024)
        model.classifier.bias.copy_((torch.arange(5) - 2) / 16)
    labels = torch.arange(10) % 5
    output = model(**batch_of(sequences, [[0] * len(s) for s in sequences], 0), labels=labels)
    output.loss.backward()
    expected = {"ids": torch.tensor(sum(sequences, [])), "offsets": offsets_of(sequences), "labels": labels,
                "embeddings": embeddings, "logits": output.logits, "loss": output.loss}
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        flat = parameter.grad.flatten()
        has_largest = flat.numel() > 8 and flat.abs().max() > 1e-8  # a key's bias has a gradient of rounding noise alone
        where = torch.cat([flat.abs().topk(8).indices if has_largest else torch.arange(min(8, flat.numel())),
                           torch.randint(0, flat.numel(), (8,), generator=generator)])
        expected[f"index.{name}"] = where
        expected[f"grad.{name}"] = torch.cat([flat.double().norm().float()[None], flat.abs().max()[None], flat[where]])
    save(expected, path, VERSIONS | {"sentences": SENTENCES})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/models")
    options = parser.parse_args()
    for family in ACTIVATIONS:
        for head in HEADS:
            folder = options.out / f"{family}_{head}"
            folder.mkdir(parents=True, exist_ok=True)
            tiny(family, head, folder)
    minilm(options.minilm, options.out / "minilm.safetensors")


if __name__ == "__main__":
    main()
