"""A checksum inside every Parquet file of the store, over all its bytes but the checksum's own.

Parquet's page checksums leave page headers and the footer unprotected: a flipped bit there gives wrong rows, or a reader
that never returns. The digest lies in the footer's key-value metadata, so a file stays one file that is renamed into
place, and other readers take it as it is. A file without one (of another writer) cannot be told from a sound one.
"""

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128

_KEY = b"polyneuron.xxh3_128"
_LENGTH = 32
_BETWEEN = 2
"""Bytes between key and digest in Thrift's compact protocol: the field's header, and the digest's length."""


def sealed_parquet(table: pa.Table) -> bytes:
    """`table` as one Parquet file that holds its own checksum. The same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, table.schema, compression="zstd", compression_level=3, version="2.6", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: b"0" * _LENGTH})
    data = bytearray(sink.getvalue())
    start = _digest_start(data)
    assert start is not None and data[start : start + _LENGTH] == b"0" * _LENGTH
    data[start : start + _LENGTH] = _digest(data, start)
    return bytes(data)


def is_damaged(data: bytes) -> bool:
    """Whether `data`, a whole file, differs from what `sealed_parquet` made. False where it holds no checksum."""
    start = _digest_start(data)
    return start is not None and data[start : start + _LENGTH] != _digest(data, start)


def _digest_start(data: bytes | bytearray) -> int | None:
    key = data.rfind(_KEY)
    return None if key < 0 else key + len(_KEY) + _BETWEEN


def _digest(data: bytes | bytearray, start: int) -> bytes:
    view, digest = memoryview(data), xxh3_128()
    digest.update(view[:start])
    digest.update(view[start + _LENGTH :])
    return digest.hexdigest().encode()
