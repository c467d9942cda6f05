#!/usr/bin/env python3
"""CLIP's byte-level BPE vocabulary as the files of a diffusers tokenizer: vocab.json, merges.txt, tokenizer_config.json.

Reads bpe_simple_vocab_16e6.txt.gz as packages of CLIP carry it (tools/bootstrap.sh base installs open_clip_torch into .venv): a merge
a line, of which CLIP takes 48,894. Ids: 256 bytes, the same at the end of a word, the merges, <|startoftext|> and <|endoftext|>.
Example: python3 tools/data/clip_vocabulary.py --merges .venv/lib/python3.11/site-packages/open_clip/bpe_simple_vocab_16e6.txt.gz --out clip
"""
import argparse
import gzip
import json
from pathlib import Path

MERGES = 49152 - 256 - 2
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters():
    """The 256 bytes as letters, printable ones as themselves: GPT-2's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--merges", type=Path, required=True, help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokenizer's files")
    arguments = parser.parse_args()
    lines = gzip.decompress(arguments.merges.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1:MERGES + 1]
    letters = byte_letters()
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges] + [BEGIN, END]
    vocabulary = {word: number for number, word in enumerate(words)}
    assert len(vocabulary) == 49408, f"expected 49408 words, got {len(vocabulary)}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")),
        "merges.txt": "#version: 0.2\n" + "\n".join(merges) + "\n",
        "tokenizer_config.json": json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": BEGIN, "eos_token": END,
                                             "unk_token": END, "pad_token": END}, indent=1) + "\n",
    }
    for name, text in files.items():
        (arguments.out / name).write_text(text, encoding="utf-8")
    print(f"{len(vocabulary)} words and {len(merges)} merges in {arguments.out}")


if __name__ == "__main__":
    main()
