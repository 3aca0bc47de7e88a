"""What a scenario saw, as one JSON object: title -> outcome.

The scripts in this folder run in the environment of the published packages, against a server that
the test names, and print one transcript each; transcripts of two servers can be compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

MALFORMED = 400


def hex_of(text: str) -> str:
    """Give a checksum that looks like any other."""
    return hashlib.sha256(text.encode()).hexdigest()


class Transcript:
    """Titles and outcomes; printed at the end."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Any] = {}

    def note(self, title: str, outcome: object) -> None:
        """Write an outcome down."""
        if title in self._outcomes:
            raise ValueError(f"two outcomes of {title!r}")
        self._outcomes[title] = outcome

    async def ask(self, title: str, asked: Awaitable[object]) -> None:
        """Wait for what a client of the published packages gives, or how it fails."""
        try:
            self.note(title, plain(await asked))
        except Exception as error:
            self.note(title, failure(error))

    def call(self, title: str, called: Callable[[], object]) -> None:
        """Write down what a function gives, or how it fails."""
        try:
            self.note(title, plain(called()))
        except Exception as error:
            self.note(title, failure(error))

    def print(self) -> None:
        """Print it; the only output of a scenario."""
        print(json.dumps(self._outcomes))


def plain(outcome: Any) -> Any:
    """Give checksums as text, also inside of lists."""
    if isinstance(outcome, list):
        return [plain(item) for item in outcome]
    return outcome.hex() if type(outcome).__name__ == "Checksum" else outcome


def failure(error: Exception) -> dict[str, Any]:
    """Describe a failure: by the answer of the server, where there was one."""
    answer = re.match(r"Error (\d+): (.*)", str(error), re.DOTALL)
    if answer is None:
        return {"raised": type(error).__name__, "text": str(error)}
    return refusal(int(answer[1]), answer[2])


def refusal(status: int, text: str) -> dict[str, Any]:
    """Describe a refusal: what is wrong with malformed input is said in each server's own words."""
    return {"status": status} if status == MALFORMED else {"status": status, "text": text}
