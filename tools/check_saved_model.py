#!/usr/bin/env python3
"""Loads a saved model folder with transformers and prints its logits for given token ids, to compare with our own.

Run: <reference venv>/bin/python tools/check_saved_model.py FOLDER --ids 5,6,7 8,9
"""
import argparse

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--ids", nargs="+", required=True, help="one list of token ids a sequence")
    options = parser.parse_args()
    config = transformers.AutoConfig.from_pretrained(options.folder)
    headed = config.architectures[0].endswith("ForSequenceClassification")
    auto = transformers.AutoModelForSequenceClassification if headed else transformers.AutoModel
    model, about = auto.from_pretrained(options.folder, output_loading_info=True)
    model.eval()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # A bare encoder may come without the pooler, which sentence embeddings do not use.
        wrong = [key for key in about[kind] if headed or not str(key).startswith("pooler.")]
        if wrong:
            raise SystemExit(f"{kind}: {sorted(wrong)}")
    print(config.architectures[0], config.problem_type, config.id2label)
    for ids in options.ids:
        with torch.no_grad():
            output = model(torch.tensor([[int(i) for i in ids.split(",")]]))
        print((output.logits if headed else output.last_hidden_state.mean(1))[0].tolist())


if __name__ == "__main__":
    main()
