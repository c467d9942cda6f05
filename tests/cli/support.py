"""What the tests of the program share: running it, small files, and the ways in which a machine refuses."""
import json
import os
import random
import resource
import signal
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

DEVICE = os.environ.get("LOWRANK_TEST_DEVICE", "cpu")
INVALID, FORMAT, SHAPE, UNSUPPORTED, IO, CANCELLED = 2, 3, 4, 5, 6, 130


def run_program(program, *arguments, status=0, says=(), prepare=None, timeout=600):
    """The finished process, after its exit status was found as wanted and every part of `says` in its standard error."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, preexec_fn=prepare, timeout=timeout)
    if done.returncode != status:
        raise AssertionError(f"{arguments}: status {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}")
    for part in [says] if isinstance(says, str) else says:
        assert part in done.stderr, f"{arguments}: expected '{part}' in\n{done.stderr}"
    return done


class MadeFiles(unittest.TestCase):
    """Tests over `tmp`, a folder that the program `maker` filled once for all of them."""
    maker = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tmp = Path(cls.folder.name)
        subprocess.run([cls.maker, cls.tmp], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()


def full_disk(limit):
    """For `prepare`: no file can grow beyond `limit` bytes; a write that tries fails, as on a full disk."""
    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return prepare


def contents(folder):
    """Every file below the folder with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_safetensors(path):
    """name → (dtype, shape, bytes), and the metadata."""
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__", {})
    return {name: (entry["dtype"], entry["shape"], data[end + entry["data_offsets"][0]:end + entry["data_offsets"][1]])
            for name, entry in header.items()}, metadata


def write_safetensors(path, tensors, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def floats(shape, values):
    """A tensor for write_safetensors."""
    return "F32", shape, struct.pack(f"<{len(values)}f", *values)


def png(width, height, bits, colour, rows):
    """The bytes of a PNG; `rows` yields the lines' bytes, `colour` is 0 for grey and 2 for RGB."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(b"\0" + row) for row in rows) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def noise_png(side, seed):
    stream = random.Random(seed)
    return png(side, side, 8, 2, (stream.randbytes(3 * side) for _ in range(side)))
