"""The data layer by itself: values, buffers, checksums. No Dask, no server, nothing to set up.

Run it with ``python examples/data_layer.py``; it prints what it finds, and cleans up.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import seamless_dask_cache as sdc


def main() -> None:
    # A value and a cell type make a buffer; the SHA-256 of its bytes is its name.
    weather = {
        "station": "Wageningen",
        "years": [2024, 2025],
        "temperature": np.array([[3.5, 17.0], [4.0, 18.5]]),
    }
    buffer = sdc.Buffer(weather, "mixed")
    print(f"mixed: {len(buffer)} bytes, {buffer.checksum}")

    # The same value has the same name in every process, on every machine, and in Seamless.
    assert sdc.Buffer(weather, "mixed").checksum == buffer.checksum

    # As long as somebody holds the buffer, its checksum is enough to have it, or its value.
    checksum = sdc.Checksum(buffer.checksum.hex())
    print("resolved:", checksum.resolve("mixed")["temperature"].mean())

    # A reference holds it; a tempref does so for half a minute.
    checksum.incref()
    del buffer
    print("cache:", sdc.get_buffer_cache().stats()["strong_bytes"], "bytes held")

    # A part of the value, as another cell type; the part has a checksum of its own.
    summer = sdc.Expression(checksum, ["temperature", slice(None), -1], "mixed", "binary")
    print("part:", summer.evaluate(), summer.get_checksum())
    print("number:", sdc.Expression(checksum, ["years", 0], "mixed", "int").evaluate())

    # Conversions say beforehand whether they can fail, and whether they change the checksum.
    print("text to python:", sdc.classify_conversion("text", "python"))
    print("yaml to plain:", sdc.convert(b"a: [1, 2]\n", "yaml", "plain").get_value("plain"))
    try:
        sdc.convert(b"def f(:\n", "text", "python")
    except sdc.ConversionError as error:
        print("refused:", str(error).split(":")[0])

    # What a buffer can be, from facts that can be kept without it.
    info = sdc.BufferInfo.from_buffer(b"[1, 2, 3]\n")
    print("facts:", info.json_type, {name: str(info.can_be(name)) for name in ("plain", "binary")})

    # Buffers and checksums in files, which Seamless reads, too.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weather"
        checksum.resolve().save(file)
        checksum.save(file)
        print("files:", sorted(path.name for path in Path(folder).iterdir()))
        assert sdc.Checksum.load(file) == sdc.Buffer.load(file).checksum

    checksum.decref()
    try:
        checksum.resolve()
    except sdc.CacheMissError:
        print("let go of, and nobody else has it")


if __name__ == "__main__":
    main()
