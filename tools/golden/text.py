#!/usr/bin/env python3
"""Goldens of the text layer: what the `tokenizers` library makes of strings that a formula gives.

    python tools/golden/text.py --model FOLDER            # tests/golden/text/*.json, the small tokenizers kept as they are
    python tools/golden/text.py --model FOLDER --train    # the small tokenizers trained anew, too
    python tools/golden/text.py --model FOLDER --live OUT # also 20,000 strings with this machine's package descriptions
    … --live OUT --clip bpe_simple_vocab_16e6.txt.gz      # and CLIP's real vocabulary (of open_clip), written to the folder OUT.clip

FOLDER is the unpacked MiniLM model (tokenizer.json and vocab.txt). The strings are bytes; the reference gets them as
bytes.decode("utf-8", errors="replace"). One string is one case: by its number it is encoded alone or with the next one, with or
without truncation. A case is kept as the first 5 hexadecimal digits of the SHA-256 of ids, types, offsets, mask and decoded text.
tests/text/corpus.h has the same formula. --live writes JSON lines for the test Live20000: {"text": hex, "hashes": {name: digits}}.
"""
import argparse
import copy
import hashlib
import json
import pathlib
import struct
import subprocess

import text_clip
import tokenizers as hf
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.implementations import BertWordPieceTokenizer

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/text"
MASK = (1 << 64) - 1
WINDOWS = [*range(0, 0x33480 >> 6), *range(0xE0000 >> 6, 0xE0200 >> 6), 0xF0000 >> 6, 0x10FFC0 >> 6]
BETWEEN = ["", " ", "a", "A1", "\u0301", "."]
RANDOM = 4000
SINGLE_LENGTHS, PAIR_LENGTHS = [4, 5, 8, 13, 32], [5, 6, 7, 9, 16, 33]
WINDOW_PAIR_LENGTHS = [33, 40, 41, 64, 65, 100]  # long texts: the reference also makes all pairs of what it cuts off

ATOMS = r"""the of and library for package files documentation development runtime plugin python GNOME KDE Linux is this that
it's don't we'll they've I'm you're he'd O'Neill'S THEY'LL can't 'tis rock'n'roll isn't naïve café CAFÉ Ünïcödé Straße ẞtraẞe façade
Ångström İstanbul ıstanbul ǅungla ŉ ﬁne ﬂow ﬀ Ⅷ ½ ² x² H₂O ①②③ ㍿ ㌀ ＡＢＣ ｶﾀｶﾅ 0 1 42 007 1234567 3.14 1e-5 0xFF v2.0-rc1 ٣٤٥ १२३ ๑๒๓ 一二三
中文字符 日本語 カタカナ ひらがな 한국어 ᄒ ᅡ ᆫ 각 한 русский ПРИВЕТ ёж й Ελληνικά ΣΊΣΥΦΟΣ ὀδός العربية שלום हिन्दी ไทย தமிழ் မြန်မာ ខ្មែរ ქართული Հայերեն
አማርኛ e\u0301 a\u0323\u0302 a\u0302\u0323 o\u0308\u0304 \u0344 \u0f73 \u0315\u0344 \u0301 q\u0307\u0323 \u212b \u1e9b\u0323 \u2126 \u0958 \ufb2c \U0001d15e
\U0002f800 𠮷 𝔘𝔫𝔦 🙂 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇺🇳🇫 1️⃣ #️⃣ ❤️ ☃ © ™ \U0001fae8 \U0001f9ff\u200d \ufe0f \u200b \u200d \u00ad \ufeff \u2060 \u180e \x00 \x07 \x1b[0m \x7f
\x85 \u00a0 \u2003 \u3000 \u2028 \u2029 \u1680 \t \n \r\n \n\n \v \f <space> <space><space> <space><space><space> \ufffd \ue000 \U000f0000 \U0010ffff \u0378
. , ; : ! ? ... -- - _ __ a_b $ € £ + = < > | ^ ` ~ * ** / \\ // @ # & % ( ) [ ] { } " “quoted” « » ' ’ — … · 、。 「」 ！ ？ \u0970 \U00011349 \u0e4f
[MASK] [CLS] [SEP] [PAD] [UNK] [mask] [MASK]s x[MASK]y <s> </s> <mask> <pad> <|endoftext|> <|im_start|> <|im_end|> <|eot_id|> <|begin_of_text|> <|special|>
newtok NEWTOK Newtoken supernewtok ##ing ## ##a #hash http://example.org/~user?a=1&b=2 user@example.com /usr/share/doc libfoo-dev (>=<space>1.2)
supercalifragilisticexpialidocious aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
\u1c89\u1c8a \ua7cb \U00010d50\U00010d70 \U00016ea0 \U0001e4d0\U0001e4f0 \U00011f50\U00011f00 \U000105c9 \u0cf3 \u0897 \u1734 \u166d"""


def atoms():
    """Words of ATOMS with their escapes read; <space> is a space."""
    decode = lambda word: word.encode("ascii", "backslashreplace").decode("unicode_escape").replace("<space>", " ")
    return [decode(word) for word in ATOMS.split()]


class SplitMix:
    def __init__(self, seed):
        self.state = seed & MASK

    def next(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound


def window(number):
    out = ""
    for i in range(64):
        point = WINDOWS[number] * 64 + i
        if not 0xD800 <= point <= 0xDFFF:
            out += chr(point) + BETWEEN[(i + number) % len(BETWEEN)]
    return out.encode()


def code_point(random):
    point = random.next([0x80, 0x800, 0x10000, 0x33480][random.next(4)])
    return point if not 0xD800 <= point <= 0xDFFF else 0xFFFD


def mixed(number, words):
    random = SplitMix(number)
    kind, count, out = random.next(8), random.next(24), b""
    for _ in range(count):
        if kind == 0:
            out += chr(code_point(random)).encode()
        elif kind == 1:
            out += bytes([random.next(256) if random.next(2) else [0xC3, 0xE2, 0x82, 0xF0, 0x9F, 0x80, 0xED, 0xA0, 0xF4, 0x90][random.next(10)]])
        else:
            out += words[random.next(len(words))].encode() + (b" " if random.next(3) == 0 else b"")
    if kind == 2 and out:
        out = out[: random.next(len(out))]
    return out


def corpus():
    words = atoms()
    return [window(i) for i in range(len(WINDOWS))] + [mixed(i, words) for i in range(RANDOM)]


def train():
    """The small byte-level and other tokenizers, trained on strings of the same formula with other numbers."""
    words = atoms()
    texts = [mixed(1_000_000 + i, words).decode("utf-8", "replace") for i in range(12000)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    llama = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    qwen = llama.replace("{1,3}", "")
    split = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")
    plain = lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    special = lambda *names: [AddedToken(name, special=True, normalized=False) for name in names]

    def bpe(name, pre_tokenizer, specials, normalizer=None, size=1400, **options):
        tokenizer = hf.Tokenizer(models.BPE(**options))
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False))
        tokenizer.decoder = decoders.ByteLevel()
        return name, tokenizer

    def ids(tokenizer, *names):
        return [(name, tokenizer.token_to_id(name)) for name in names]

    made = []
    name, gpt2 = bpe("gpt2", pre_tokenizers.ByteLevel(add_prefix_space=False), special("<|endoftext|>"))
    gpt2.post_processor = processors.ByteLevel(trim_offsets=True)
    gpt2.add_tokens([AddedToken("newtok", normalized=True, lstrip=True), AddedToken("<mask>", rstrip=True, normalized=False)])
    made.append((name, gpt2))

    name, roberta = bpe("roberta", pre_tokenizers.ByteLevel(add_prefix_space=True), special("<s>", "<pad>", "</s>", "<unk>"))
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    (cls, sep) = ids(roberta, "<s>", "</s>")
    roberta.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=True)
    made.append((name, roberta))

    name, llama3 = bpe("llama3", pre_tokenizers.Sequence([split(llama), plain()]), special("<|begin_of_text|>", "<|eot_id|>"), ignore_merges=True)
    template = processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                             special_tokens=ids(llama3, "<|begin_of_text|>"))
    llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    made.append((name, llama3))

    name, qwen2 = bpe("qwen2", pre_tokenizers.Sequence([split(qwen), plain()]), special("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
                      normalizer=normalizers.NFC())
    qwen2.post_processor = processors.ByteLevel(trim_offsets=False)
    made.append((name, qwen2))

    name, smollm = bpe("smollm2", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)]),
                       special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    made.append((name, smollm))

    fallback = hf.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    fallback.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(0, 256) if byte != 0xF0]
    fallback.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1100, special_tokens=["<unk>", "<s>", "</s>"] + bytes_, limit_alphabet=300, show_progress=False))
    blob = json.loads(fallback.to_str())
    blob["added_tokens"] = [token for token in blob["added_tokens"] if not token["content"].startswith("<0x")]
    fallback = hf.Tokenizer.from_str(json.dumps(blob))
    fallback.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A </s> <s>:1 $B:1 </s>:1", special_tokens=ids(fallback, "<s>", "</s>"))
    fallback.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.append(("byte_fallback", fallback))

    clip = hf.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="@@"))
    clip.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Lowercase()])
    clip.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(False), split(r"\w{1,4}+|\h+"),
                                                  pre_tokenizers.Split("o", "merged_with_previous"), pre_tokenizers.Split("e", "merged_with_next")])
    clip.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1200, special_tokens=["<unk>"], limit_alphabet=200, end_of_word_suffix="</w>",
                                                        continuing_subword_prefix="@@", show_progress=False))
    clip.decoder = decoders.BPEDecoder("</w>")
    made.append(("suffix", clip))

    piece = hf.Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    piece.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Replace(Regex("[aeiou]{2,}"), "é"), normalizers.NFC()])
    piece.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous"),
                                                   pre_tokenizers.Split(Regex(r"[A-Z]"), "merged_with_next", invert=False),
                                                   pre_tokenizers.Split(Regex(r"[^x]+"), "isolated", invert=True)])
    piece.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=["[UNK]", "[CLS]", "[SEP]"], limit_alphabet=500, show_progress=False))
    sep, cls = ids(piece, "[SEP]", "[CLS]")
    piece.post_processor = processors.BertProcessing(sep, cls)
    piece.decoder = decoders.WordPiece(cleanup=False)
    piece.add_tokens([AddedToken("Café", normalized=True, single_word=True), AddedToken("newtok", single_word=True, normalized=False)])
    made.append(("word_piece", piece))
    text_clip.train_small(GOLDEN / "clip_files", texts)
    made.append(("clip", text_clip.reference(GOLDEN / "clip_files")))
    for name, tokenizer in made:
        (GOLDEN / f"{name}.tokenizer.json").write_text(tokenizer.to_str() + "\n")


def bert_variants():
    """Changes to MiniLM's tokenizer.json; the test makes the same ones."""
    bert = lambda clean, chinese, accents, lower: {"normalizer": {
        "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents, "lowercase": lower}}
    token = lambda id, content, **set: {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                                        "normalized": False, "special": False, **set}
    added = [token(103, "[MASK]", lstrip=True, special=True), token(30522, "newtok", single_word=True), token(30523, "CAFÉ", normalized=True, rstrip=True),
             token(30524, "it'", normalized=True), token(30525, "日本")]
    return {"bert_cased": bert(True, True, False, False), "bert_cased_stripped": bert(False, False, True, False),
            "bert_lower_accents": bert(True, False, False, True), "bert_added": {"added_tokens": added}}


def references(model):
    blob = json.loads((model / "tokenizer.json").read_text())
    out = {"minilm": hf.Tokenizer.from_str(json.dumps(blob))}
    out["minilm_vocab"] = BertWordPieceTokenizer(str(model / "vocab.txt"), lowercase=True)._tokenizer
    for name, changes in bert_variants().items():
        out[name] = hf.Tokenizer.from_str(json.dumps({**copy.deepcopy(blob), **changes}))
    for path in sorted(GOLDEN.glob("*.tokenizer.json")):
        out[path.name.removesuffix(".tokenizer.json")] = hf.Tokenizer.from_file(str(path))
    out["clip_files"] = text_clip.reference(GOLDEN / "clip_files")
    out["clip_files_pad"] = text_clip.reference(GOLDEN / "clip_files", "!")
    for tokenizer in out.values():
        tokenizer.no_padding()
    return out


def truncation(number):
    """The case of this number: 0 to 4 one text, 5 one truncated, 6 a pair, 7 a pair truncated. 0 is no truncation."""
    mode, group = number % 8, number // 8
    lengths = {5: SINGLE_LENGTHS, 7: WINDOW_PAIR_LENGTHS if number < len(WINDOWS) else PAIR_LENGTHS}.get(mode, [0])
    return lengths[group % len(lengths)]


def encode(tokenizer, number, texts):
    pair = texts[(number + 1) % len(texts)] if number % 8 >= 6 else None
    encoding = tokenizer.encode(texts[number], pair)
    return encoding, tokenizer.decode(encoding.ids, skip_special_tokens=number % 2 == 0)


def digest(encoding, decoded):
    numbers = [len(encoding.ids), *encoding.ids, *encoding.type_ids, *(x for pair in encoding.offsets for x in pair), *encoding.special_tokens_mask]
    return hashlib.sha256(struct.pack(f"<{len(numbers)}i", *numbers) + decoded.encode("utf-8", "replace")).hexdigest()[:5]


def digests(tokenizer, strings):
    """By truncation, since each change of it costs the reference a copy of itself."""
    texts = [string.decode("utf-8", "replace") for string in strings]
    out = [""] * len(texts)
    for length in sorted({truncation(number) for number in range(len(texts))}):
        tokenizer.enable_truncation(length) if length else tokenizer.no_truncation()
        for number in range(len(texts)):
            if truncation(number) == length:
                out[number] = digest(*encode(tokenizer, number, texts))
    return out


def descriptions(count):
    """The first lines of this machine's package descriptions, evenly spread."""
    dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    lines = sorted({line.split(b":", 1)[1].strip() for line in dump.split(b"\n") if line.startswith(b"Description:")})
    return [lines[i * len(lines) // count] for i in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--live", type=pathlib.Path)
    parser.add_argument("--clip", type=pathlib.Path)
    options = parser.parse_args()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if options.train:
        train()
    strings = corpus()
    about = {"reference": f"tokenizers {hf.__version__}", "made_by": "tools/golden/text.py", "strings": len(strings)}
    corpus_file = {"about": about, "atoms": atoms(), "windows": len(WINDOWS),
                   "bert_variants": bert_variants(),
                   "corpus_sha256": hashlib.sha256(b"\0".join(strings)).hexdigest()}
    (GOLDEN / "corpus.json").write_text(json.dumps(corpus_file, indent=1) + "\n")
    tokenizers = references(options.model)
    for name, tokenizer in tokenizers.items():
        found = {"about": about, "hashes": "".join(digests(tokenizer, strings))}
        (GOLDEN / f"{name}.golden.json").write_text(json.dumps(found) + "\n")
        print(name, len(strings), "strings")
    if options.live:
        everything = strings + descriptions(20000 - len(strings))
        if options.clip:
            text_clip.write_real(options.live.with_name(options.live.name + ".clip"), options.clip)
            tokenizers["clip_real"] = text_clip.reference(options.live.with_name(options.live.name + ".clip"))
            tokenizers["clip_real"].no_padding()
        columns = {name: digests(tokenizer, everything) for name, tokenizer in tokenizers.items()}
        with options.live.open("w") as out:
            for number, string in enumerate(everything):
                out.write(json.dumps({"text": string.hex(), "hashes": {name: column[number] for name, column in columns.items()}}) + "\n")
        print(options.live, len(everything), "strings")


if __name__ == "__main__":
    main()
