"""Numbers by formula, so that no weights need to be committed: the Python twin of tests/support/fixed_init.h."""

import numpy as np
import torch


def fixed(shape, salt, scale=1.0, dtype=torch.float64):
    """Element i is mix(i + 1, salt) scaled to [-scale, scale)."""
    count = int(np.prod(shape))
    h = (np.arange(1, count + 1, dtype=np.uint64) * 2654435761 + salt * 40503) & 0xFFFFFFFF
    for _ in range(2):
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h ^= h >> 16
    return torch.tensor((h / 2147483648.0 - 1.0) * scale).reshape(list(shape)).to(dtype)
