"""Another interpreter: reads values as source text or pickles, answers with their checksums."""

from __future__ import annotations

import base64
import json
import pickle
import sys

import value_kinds

from seamless_dask_cache.identity import value_checksum


def checksums(request):
    """Return the checksums of everything in a request, in its order."""
    values = [eval(source, vars(value_kinds)) for source in request.get("sources", ())]
    values += [pickle.loads(base64.b64decode(text)) for text in request.get("pickles", ())]
    return [value_checksum(value) for value in values]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(checksums(json.loads(line))), flush=True)
