"""CLIP's tokenizer for tools/golden/text.py: a small vocabulary of its kind, the real one made from open_clip's file, and transformers'
CLIPTokenizer on either."""
import gzip
import json

import tokenizers as hf
from tokenizers import models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def write_folder(folder, tokens, merges, pad=END):
    """The files of a diffusers pipeline's tokenizer/ (pad: <|endoftext|>) or tokenizer_2/ (pad: !)."""
    token = lambda content: {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    folder.mkdir(parents=True, exist_ok=True)
    write = lambda name, value: (folder / name).write_text(json.dumps(value, ensure_ascii=False) + "\n")
    roles = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END), "pad_token": pad}
    write("vocab.json", {token: number for number, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges))
    write("special_tokens_map.json", roles)
    marked = {key: {"__type": "AddedToken"} | value if isinstance(value, dict) else value for key, value in roles.items()}
    write("tokenizer_config.json", marked | {"do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})


def byte_letters():
    """The alphabet in the order of CLIP's ids."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    return letters + [letter + "</w>" for letter in letters]


def train_small(folder, texts):
    """512 letters, 600 merges and the two special tokens."""
    blank = CLIPTokenizer({START: 0, END: 1}, [])._tokenizer
    tokenizer = hf.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    merges = [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]][:600]
    write_folder(folder, byte_letters() + [merge.replace(" ", "") for merge in merges] + [START, END], merges)


def write_real(folder, vocabulary):
    """From open_clip's bpe_simple_vocab_16e6.txt.gz, as CLIP's own code reads it: 49,408 tokens."""
    merges = gzip.open(vocabulary).read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    write_folder(folder, byte_letters() + ["".join(merge.split()) for merge in merges] + [START, END], merges)


def reference(folder, pad=None):
    """transformers' tokenizer on the folder's files, perhaps with another pad token: a string that vocab.json has."""
    return CLIPTokenizer.from_pretrained(folder, **({"pad_token": pad} if pad else {})).backend_tokenizer
