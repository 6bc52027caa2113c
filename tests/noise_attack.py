"""The generators of TensorFlow's random operations in NumPy, and an attack on operations that seed themselves.

Without a seed, an operation takes the key and the start of a Philox generator from two outputs of a `mt19937_64`, which
the process has seeded with 32 bits, and counts on from there.
"""

import numpy as np

WORDS, MIDDLE = 312, 156
SKIPPED = 256
"""Counts by which TensorFlow's `RandomStandardNormal` moves on for each number that it draws."""
BITS_32, BITS_64 = np.uint64(0xFFFFFFFF), (1 << 64) - 1


def mersenne_state(seeds):
    """Return the states `(n, 312)` of `std::mt19937_64` for 32-bit seeds `(n,)`."""
    state = np.empty((len(seeds), WORDS), np.uint64)
    state[:, 0] = seeds
    for index in range(1, WORDS):
        before = state[:, index - 1]
        state[:, index] = np.uint64(6364136223846793005) * (before ^ (before >> np.uint64(62))) + np.uint64(index)
    return state


def mersenne_outputs(state):
    """Return the next 312 outputs for each state `(n, 312)`, and the states after them."""
    state = state.copy()
    for index in range(WORDS):
        after = state[:, (index + 1) % WORDS]
        mixed = (state[:, index] & np.uint64(0xFFFFFFFF80000000)) | (after & np.uint64(0x7FFFFFFF))
        odd = np.where(mixed & np.uint64(1), np.uint64(0xB5026F5AA96619E9), np.uint64(0))
        state[:, index] = state[:, (index + MIDDLE) % WORDS] ^ (mixed >> np.uint64(1)) ^ odd
    out = state ^ ((state >> np.uint64(29)) & np.uint64(0x5555555555555555))
    out ^= (out << np.uint64(17)) & np.uint64(0x71D67FFFEDA60000)
    out ^= (out << np.uint64(37)) & np.uint64(0xFFF7EEE000000000)
    return out ^ (out >> np.uint64(43)), state


def mersenne_state_behind(outputs):
    """Return the state `(1, 312)` from 312 outputs, by undoing the last four steps of `mersenne_outputs`."""

    def undo(mixed, step):
        value = mixed
        for _ in range(64 // 17 + 1):
            value = mixed ^ step(value)
        return value

    out = np.asarray(outputs, np.uint64)
    out = undo(out, lambda value: value >> np.uint64(43))
    out = undo(out, lambda value: (value << np.uint64(37)) & np.uint64(0xFFF7EEE000000000))
    out = undo(out, lambda value: (value << np.uint64(17)) & np.uint64(0x71D67FFFEDA60000))
    return undo(out, lambda value: (value >> np.uint64(29)) & np.uint64(0x5555555555555555))[np.newaxis]


def philox(key, low, high):
    """Return the four 32-bit outputs `(n, 4)` of Philox 4x32-10 for keys and counters of uint64 `(n,)`."""
    keys = [key & BITS_32, key >> np.uint64(32)]
    words = [low & BITS_32, low >> np.uint64(32), high & BITS_32, high >> np.uint64(32)]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (second >> np.uint64(32)) ^ words[1] ^ keys[0],
            second & BITS_32,
            (first >> np.uint64(32)) ^ words[3] ^ keys[1],
            first & BITS_32,
        ]
        keys = [(keys[0] + np.uint64(0x9E3779B9)) & BITS_32, (keys[1] + np.uint64(0xBB67AE85)) & BITS_32]
    return np.stack(words, axis=-1)


def normals(key, low, high):
    """Return the four standard normal numbers `(n, 4)` that TensorFlow makes of the outputs of `philox`."""
    words = philox(*(np.asarray(word, np.uint64) for word in (key, low, high)))
    uniform = (words & np.uint64(0x7FFFFF)).astype(float) / 2**23
    radius = np.sqrt(-2 * np.log(np.maximum(uniform[:, 0::2], 1e-7)))
    angle = 2 * np.pi * uniform[:, 1::2]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=-1).reshape(-1, 4)


def generators_of(first, outputs):
    """Look among the outputs `(n, m)` of n `mt19937_64` for two in a row that begin with the normal numbers `first`.

    Returns a list of `(n, key, high)`: which of them it is, and the key and the counter's high word of its Philox.
    """
    keys, highs = outputs[:, :-1], outputs[:, 1:]
    candidates = normals(keys.reshape(-1), np.zeros(keys.size, np.uint64), highs.reshape(-1))
    found = np.flatnonzero(np.abs(candidates[:, : len(first)] - first).max(axis=-1) < 1e-5)
    return [(int(at // keys.shape[1]), keys.reshape(-1)[at], highs.reshape(-1)[at]) for at in found]


def foretold(key, high, size, draws, skipped=None):
    """Return all draws `(draws, size)` of an operation from its key and high word, from the first.

    `skipped` is the number of counts from one draw to the next; by default that of TensorFlow.
    """
    blocks = -(-size // 4)
    skipped = size * SKIPPED if skipped is None else skipped
    starts = np.arange(draws)[:, np.newaxis] * skipped + np.arange(blocks)
    numbers = normals(np.full(starts.size, key), starts.reshape(-1), np.full(starts.size, high))
    return numbers.reshape(draws, -1)[:, :size]
