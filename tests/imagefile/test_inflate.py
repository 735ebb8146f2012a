"""Our inflate and CRC-32 against zlib: equal on every valid stream, an error (never a crash) on all others."""

from __future__ import annotations

import os
import random
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from celltable._native import codec

pieces = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3000).map(bytes),
    st.tuples(st.binary(min_size=1, max_size=20), st.integers(1, 200)).map(lambda p: p[0] * p[1]),
    st.tuples(st.integers(0, 400), st.integers(1, 9)).map(lambda p: bytes(p[0]) + b"\xff" * p[1]),
)
contents = st.lists(pieces, max_size=12).map(b"".join)


def packed(data: bytes, level: int, strategy: int, flush: int = 0) -> bytes:
    maker = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    half = len(data) // 2
    middle = maker.flush(zlib.Z_FULL_FLUSH) if flush else b""
    return maker.compress(data[:half]) + middle + maker.compress(data[half:]) + maker.flush()


@pytest.mark.parametrize("sparse", [False, True])
@given(contents, st.integers(0, 9), st.sampled_from([0, 1, 2, 3, 4]), st.integers(0, 1))
@settings(max_examples=250, deadline=None)
@example(b"", 9, 0, 0)
@example(bytes(70_000), 9, 0, 0)
@example(b"\1" + bytes(70_000) + b"\1", 6, 3, 1)
def test_inflate_gives_back_what_zlib_packed(sparse: bool, data: bytes, level: int, strategy: int, flush: int) -> None:
    assert codec.inflate(packed(data, level, strategy, flush), len(data), sparse) == data


@pytest.mark.parametrize("sparse", [False, True])
def test_long_streams_with_the_whole_window_and_long_codes_agree(sparse: bool) -> None:
    rng = random.Random(3)
    skewed = bytes(min(255, int(rng.expovariate(0.08))) for _ in range(200_000))  # codes of up to 15 bits
    far = os.urandom(32_768) * 4
    for data in (skewed, far, skewed + bytes(300_000) + far):
        for level in (1, 6, 9):
            assert codec.inflate(packed(data, level, 0), len(data), sparse) == data


def outcome(data: bytes, room: int, sparse: bool) -> bytes | None:
    try:
        return codec.inflate(data, room, sparse)
    except ValueError:
        return None


def by_zlib(data: bytes, room: int) -> bytes | None:
    decoder = zlib.decompressobj(-15)
    try:
        made = decoder.decompress(data, room + 1)
    except zlib.error:
        return None
    return made if decoder.eof and len(made) <= room else None


@given(contents, st.integers(0, 9), st.sampled_from([0, 2, 4]), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_streams_are_judged_as_zlib_judges_them(
    data: bytes, level: int, strategy: int, draw: st.DataObject
) -> None:
    stream = bytearray(packed(data, level, strategy))
    for _ in range(draw.draw(st.integers(1, 4))):
        stream[draw.draw(st.integers(0, len(stream) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    cut = bytes(stream[: draw.draw(st.integers(0, len(stream)))])
    for broken in (bytes(stream), cut):
        expected = by_zlib(broken, 40_000)
        assert outcome(broken, 40_000, sparse=False) == expected
        assert outcome(broken, 40_000, sparse=True) == expected


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_noise_is_judged_as_zlib_judges_it(noise: bytes) -> None:
    expected = by_zlib(noise, 40_000)
    assert outcome(noise, 40_000, sparse=False) == expected
    assert outcome(noise, 40_000, sparse=True) == expected


def test_a_stream_that_unpacks_to_more_than_its_room_is_refused() -> None:
    stream = packed(b"abc" * 1000, 9, 0)
    for room in (0, 1, 2999):
        with pytest.raises(ValueError, match="more than its header says"):
            codec.inflate(stream, room)


@given(st.binary(max_size=600), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_both_ways_of_crc32_equal_zlibs(data: bytes, skip: int) -> None:
    part = data[skip:]
    assert codec.crc32(part) == codec.crc32(part, by_table=True) == zlib.crc32(part)


def test_crc32_of_large_data_equals_zlibs() -> None:
    data = os.urandom(1_000_003)
    assert codec.crc32(data) == codec.crc32(data, by_table=True) == zlib.crc32(data)
