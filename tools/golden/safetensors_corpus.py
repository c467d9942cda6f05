#!/usr/bin/env python3
"""Writes tests/golden/io/safetensors: small good and bad safetensors files, and what the reference package says of each.

pass_* is what this project reads, fail_* what it refuses; verdicts.json holds the reference's own verdict ("ok" or its
message), and the test names each deliberate difference. written_*.safetensors come from the reference's writer.
Run: <reference venv>/bin/python tools/golden/safetensors_corpus.py
"""
import argparse
import json
import struct
from pathlib import Path

import numpy
import safetensors

ROOT = Path(__file__).resolve().parent.parent.parent
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
          "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def pack(header, data=b"", pad=True, length=None):
    """A file from header text (or an object) and data; `length` lies about the header's length."""
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin, end, dtype="F32", shape=(1,), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def entry(name, dtype='"F32"', shape="[1]", offsets="[0,4]"):
    return f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def good_files():
    four = b"\1\2\3\4"
    yield "empty_object", pack("{}")
    yield "scalar", pack({"a": tensor(0, 4, shape=())}, four)
    yield "zero_size", pack({"a": tensor(0, 0, shape=(0, 3)), "b": tensor(0, 4)}, four)
    yield "zero_size_last", pack({"a": tensor(0, 4), "b": tensor(4, 4, shape=(2, 0))}, four)
    yield "unordered_header", pack({"b": tensor(4, 8), "a": tensor(0, 4)}, four * 2)
    yield "metadata", pack({"__metadata__": {"format": "pt", "": "é\n\0"}, "a": tensor(0, 4)}, four)
    yield "metadata_only", pack({"__metadata__": {"k": "v"}})
    yield "metadata_null", pack('{"__metadata__":null}')
    yield "metadata_last", pack({"a": tensor(0, 4), "__metadata__": {"k": "v"}}, four)
    yield "unicode_name", pack({"層.0.weight": tensor(0, 4)}, four)
    yield "escaped_name", pack('{' + entry(r"\u00e9\ud83d\ude00\/\"") + '}', four)
    yield "empty_name", pack({"": tensor(0, 4)}, four)
    yield "json_whitespace", pack('{\n\t"a" : {"shape":[1 ],\r"data_offsets":[0,4],"dtype":"F32"} }\n\t\r ', four)
    yield "unpadded_bytes", pack({"a": tensor(0, 3, "U8", (3,))}, b"\1\2\3", pad=False)
    yield "many_dimensions", pack({"a": tensor(0, 4, shape=[1] * 30)}, four)
    for dtype, size in DTYPES.items():
        yield f"dtype_{dtype.lower()}", pack({"a": tensor(0, 3 * size, dtype, (3,))}, bytes(range(3 * size)))


def bad_headers():
    yield "empty", b""
    yield "short", b"\2\0\0\0\0\0\0"
    yield "length_zero", pack(b"", pad=False)
    yield "length_past_end", pack("{}", length=9)
    yield "length_over_limit", pack("{}", length=100_000_001)
    yield "length_huge", pack("{}", length=2**64 - 1)
    yield "length_overflows", pack("{}", length=2**64 - 8)
    yield "length_too_small", pack("{}", length=1, pad=False)
    yield "not_utf8", pack(b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4)
    yield "overlong_utf8", pack(b'{"\xc0\x80":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4)
    yield "surrogate_utf8", pack(b'{"\xed\xa0\x80":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4)
    yield "not_json", pack('{"a"}')
    yield "truncated_json", pack('{"a":{"dtype":"F32"')
    yield "trailing_comma", pack('{"__metadata__":{},}')
    yield "second_object", pack("{}{}")
    yield "nul_after_header", pack(b"{}\0\0\0\0\0\0")
    yield "array_header", pack("[]")
    yield "leading_space", pack(" {}")
    yield "byte_order_mark", pack(b"\xef\xbb\xbf{}")
    yield "comment", pack("{/* */}")
    yield "single_quotes", pack("{'__metadata__':{}}")
    yield "lone_surrogate", pack('{' + entry(r"\ud800") + '}', b"\0" * 4)
    yield "raw_newline_in_name", pack('{' + entry("a\nb") + '}', b"\0" * 4)
    yield "deep", pack('{"a":' + "[" * 500 + "]" * 500 + "}")
    yield "pickle", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94\x8c\1a\x94K\1s."
    yield "zip", b"PK\x03\x04\x14\0\0\0\0\0archive/data.pkl"
    yield "lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    yield "html", b"<!DOCTYPE html><html><body>404</body></html>"


def bad_entries():
    for name, text in {
        "tensor_number": '{"a":1}', "tensor_null": '{"a":null}', "tensor_list": '{"a":["F32",[1],[0,4]]}',
        "no_dtype": '{"a":{"shape":[1],"data_offsets":[0,4]}}', "no_shape": '{"a":{"dtype":"F32","data_offsets":[0,4]}}',
        "no_offsets": '{"a":{"dtype":"F32","shape":[1]}}', "unknown_key": '{"a":%s}' % json.dumps(tensor(0, 4, extra=1)),
        "twice_dtype": '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "duplicate_name": "{%s,%s}" % (entry("a"), entry("a")), "duplicate_escaped": "{%s,%s}" % (entry("a"), entry(r"\u0061")),
        "dtype_unknown": "{%s}" % entry("a", '"F33"'), "dtype_lower": "{%s}" % entry("a", '"f32"'),
        "dtype_number": "{%s}" % entry("a", "4"), "dtype_object": "{%s}" % entry("a", '{"F32":null}'),
        "dtype_list": "{%s}" % entry("a", '["F32"]'), "dtype_f8_e8m0": "{%s}" % entry("a", '"F8_E8M0"', "[4]"),
        "dtype_c64": "{%s}" % entry("a", '"C64"', "[1]", "[0,8]"), "dtype_f4": "{%s}" % entry("a", '"F4"', "[8]"),
        "shape_negative": "{%s}" % entry("a", shape="[-1]"), "shape_minus_zero": "{%s}" % entry("a", shape="[-0]", offsets="[0,0]"),
        "shape_float": "{%s}" % entry("a", shape="[1.0]"), "shape_text": "{%s}" % entry("a", shape='["1"]'),
        "shape_null": "{%s}" % entry("a", shape="null"), "shape_nested": "{%s}" % entry("a", shape="[[1]]"),
        "shape_number": "{%s}" % entry("a", shape="1"), "shape_bool": "{%s}" % entry("a", shape="[true]"),
        "shape_over_u64": "{%s}" % entry("a", shape="[18446744073709551617]"),
        "shape_over_i64": "{%s}" % entry("a", shape="[9223372036854775808,0]", offsets="[0,0]"),
        "shape_product_overflows": "{%s}" % entry("a", shape="[4294967296,4294967296]"),
        "shape_bytes_overflow": "{%s}" % entry("a", shape="[4611686018427387905]"),
        "shape_zero_hides_overflow": "{%s}" % entry("a", shape="[0,4611686018427387904,8]", offsets="[0,0]"),
        "offsets_one": "{%s}" % entry("a", offsets="[0]"), "offsets_three": "{%s}" % entry("a", offsets="[0,4,4]"),
        "offsets_negative": "{%s}" % entry("a", offsets="[-4,0]"), "offsets_float": "{%s}" % entry("a", offsets="[0,4.0]"),
        "offsets_reversed": "{%s}" % entry("a", offsets="[4,0]"), "offsets_object": "{%s}" % entry("a", offsets="{}"),
        "metadata_number": '{"__metadata__":{"k":1},%s}' % entry("a"), "metadata_nested": '{"__metadata__":{"k":{}},%s}' % entry("a"),
        "metadata_list": '{"__metadata__":[],%s}' % entry("a"), "metadata_text": '{"__metadata__":"x",%s}' % entry("a"),
        "metadata_null_value": '{"__metadata__":{"k":null},%s}' % entry("a"),
        "metadata_twice": '{"__metadata__":{},"__metadata__":{},%s}' % entry("a"),
        "metadata_duplicate_key": '{"__metadata__":{"k":"1","k":"2"},%s}' % entry("a"),
        "control_in_name": "{%s}" % entry(r"a\u001b[31m"), "nul_in_name": "{%s}" % entry(r"a\u0000b"),
        "long_name": "{%s}" % entry("n" * 1025),
    }.items():
        size = 0 if '"data_offsets":[0,0]' in text else 8 if "C64" in text else 4
        yield name, pack(text, bytes(range(size)))


def bad_layouts():
    data = bytes(range(16))
    yield "bytes_too_few", pack({"a": tensor(0, 4, shape=(2,))}, data[:4])
    yield "bytes_too_many", pack({"a": tensor(0, 8, shape=(1,))}, data[:8])
    yield "hole_first", pack({"a": tensor(4, 8)}, data[:8])
    yield "hole_between", pack({"a": tensor(0, 4), "b": tensor(8, 12)}, data[:12])
    yield "overlap", pack({"a": tensor(0, 8, shape=(2,)), "b": tensor(4, 12, shape=(2,))}, data[:12])
    yield "same_bytes", pack({"a": tensor(0, 4), "b": tensor(0, 4)}, data[:4])
    yield "trailing_byte", pack({"a": tensor(0, 4)}, data[:5])
    yield "data_without_tensor", pack("{}", data[:1])
    yield "truncated_data", pack({"a": tensor(0, 8, shape=(2,))}, data[:7])
    yield "no_data", pack({"a": tensor(0, 4)})
    yield "offsets_huge", pack({"a": tensor(0, 2**63 - 1, "U8", (2**63 - 1,))}, data[:4])
    yield "zero_size_past_end", pack({"a": tensor(4, 4, shape=(0,))})
    yield "unaligned_header", pack('{%s} ' % entry("a"), data[:4], pad=False)
    yield "unaligned_after_byte", pack({"a": tensor(0, 1, "U8"), "b": tensor(1, 5)}, data[:5])


def verdict(content):
    try:
        safetensors.deserialize(content)
        return "ok"
    except safetensors.SafetensorError as error:
        return str(error)[:200]


def reference_file(tensors, metadata):
    """The reference's bytes. Its metadata order is random, so it is asked until the keys come out sorted."""
    held = {name: numpy.frombuffer(data, dtype=numpy.uint8).copy() for name, (_, _, data) in tensors.items()}
    specs = {name: safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=held[name].ctypes.data if len(data) else 0,
                                          data_len=len(data)) for name, (dtype, shape, data) in tensors.items()}
    while True:
        content = bytes(safetensors.serialize(specs, metadata=metadata))
        header = json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])
        if list(header.get("__metadata__", {})) == sorted(metadata or {}):
            return content


def written_files():
    """Bytes of element k of tensor number t: (31 k + 7 t) mod 256; the test makes the same."""
    names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
             "F8_E5M2": "float8_e5m2", "BOOL": "bool"}
    tensors = {}
    for number, (dtype, size) in enumerate(DTYPES.items()):
        data = bytes((31 * k + 7 * number) % 256 for k in range(6 * size))
        kind = names.get(dtype, dtype.replace("U", "uint").replace("I", "int"))
        tensors[f"t.{dtype}"] = (kind, [2, 3], data)
        tensors[f"a.{dtype}"] = (kind, [0, 2] if number % 2 else [], b"" if number % 2 else data[:size])
    yield "all_dtypes", tensors, {"format": "pt", "note": 'quote " backslash \\ tab \t bell \x07 é 層'}
    yield "nothing", {}, None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/io/safetensors")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    verdicts = {}
    for prefix, makers in {"pass": [good_files], "fail": [bad_headers, bad_entries, bad_layouts]}.items():
        for maker in makers:
            for name, content in maker():
                file = f"{prefix}_{name}.safetensors"
                assert file not in verdicts, file
                (folder / file).write_bytes(content)
                verdicts[file] = verdict(content)
    for name, tensors, metadata in written_files():
        (folder / f"written_{name}.safetensors").write_bytes(reference_file(tensors, metadata))
    record = {"reference": f"safetensors {safetensors.__version__}", "verdicts": dict(sorted(verdicts.items()))}
    (folder / "verdicts.json").write_text(json.dumps(record, indent=1, ensure_ascii=True) + "\n")
    print(f"{len(verdicts)} files, the reference reads {sum(v == 'ok' for v in verdicts.values())}")


if __name__ == "__main__":
    main()
