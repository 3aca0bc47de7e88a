"""Requests that any Seamless database answers, by the method names of seamless-remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .database_transport import DatabaseTransport, decoded

Record = dict[str, Any]


class PublishedRequests(DatabaseTransport):
    """Asks a database, and tells it, one thing at a time.

    Parameters
    ----------
    url, token, timeout, retries, ca_file
        As for `DatabaseTransport`.
    """

    async def healthcheck(self) -> None:
        """Return when the server answers, else raise `DatabaseUnavailableError`."""
        await self._send("GET", "/healthcheck", b"")

    async def get_protocol(self) -> list[str]:
        """Give name, kind and version of the protocol; also tells whether the token is right."""
        return list(decoded(await self._request("GET", type="protocol")))

    async def get_transformation_result(self, tf_checksum: object) -> str | None:
        """Give the result of a transformation."""
        text = await self._find(type="transformation", checksum=str(tf_checksum))
        return None if text is None else text.decode()

    async def set_transformation_result(self, tf_checksum: object, result_checksum: object) -> None:
        """Set the result of a transformation."""
        await self._request(
            "PUT", type="transformation", checksum=str(tf_checksum), value=str(result_checksum)
        )

    async def get_rev_transformations(self, result_checksum: object) -> list[str] | None:
        """Give the transformations that have this result."""
        found: list[str] | None = await self._find_json(
            type="rev_transformations", checksum=str(result_checksum)
        )
        return found

    async def get_execution_record(self, tf_checksum: object) -> Record | None:
        """Give the execution record of a transformation."""
        found: Record | None = await self._find_json(type="metadata", checksum=str(tf_checksum))
        return found

    async def set_execution_record(
        self, tf_checksum: object, result_checksum: object, record: Mapping[str, Any]
    ) -> None:
        """Record an execution and its result; the first record of a transformation stays."""
        checksum, result = str(tf_checksum), str(result_checksum)
        await self._request("PUT", type="metadata", checksum=checksum, result=result, value=record)

    async def undo_transformation_result(
        self, tf_checksum: object, result_checksum: object
    ) -> bool:
        """Contest a result: its transformation is irreproducible from now on."""
        checksum, result = str(tf_checksum), str(result_checksum)
        await self._request("PUT", type="irreproducible", checksum=checksum, result=result)
        return True

    async def get_irreproducible_records(
        self, tf_checksum: object, result_checksum: object = None
    ) -> list[Record] | None:
        """Give the contested results of a transformation, or one of them."""
        only = {} if result_checksum is None else {"result": str(result_checksum)}
        found: list[Record] | None = await self._find_json(
            type="irreproducible", checksum=str(tf_checksum), **only
        )
        return found

    async def get_buffer_info(self, checksum: object) -> Record | None:
        """Give what is known of a buffer, as `BufferInfo.from_dict` takes it."""
        found: Record | None = await self._find_json(type="buffer_info", checksum=str(checksum))
        return found

    async def set_buffer_info(self, checksum: object, buffer_info: Mapping[str, Any]) -> None:
        """Add to what is known of a buffer, such as `BufferInfo.as_dict` gives."""
        await self._request(
            "PUT", type="buffer_info", checksum=str(checksum), value=dict(buffer_info)
        )

    async def get_expression(
        self, checksum: object, path: Sequence[Any], celltype: str, target_celltype: str
    ) -> str | None:
        """Give the result of an expression."""
        text = await self._find(**_expression(checksum, path, celltype, target_celltype))
        return None if text is None else text.decode()

    async def set_expression(
        self,
        checksum: object,
        path: Sequence[Any],
        celltype: str,
        target_celltype: str,
        result_checksum: object,
    ) -> None:
        """Set the result of an expression; its path has at most 100 characters as JSON."""
        key = _expression(checksum, path, celltype, target_celltype)
        await self._request("PUT", **key, value=str(result_checksum))

    async def get_bucket_probe(self, bucket_kind: str, label: str) -> Record | None:
        """Give the current probe of a bucket."""
        found: Record | None = await self._find_json(
            type="bucket_probe", bucket_kind=bucket_kind, label=label
        )
        return found

    async def set_bucket_probe(
        self,
        bucket_kind: str,
        label: str,
        bucket_checksum: object,
        freshness_tokens: Mapping[str, Any],
        captured_at: str,
    ) -> None:
        """Set the current probe of a bucket."""
        await self._request(
            "PUT",
            type="bucket_probe",
            bucket_kind=bucket_kind,
            label=label,
            bucket_checksum=str(bucket_checksum),
            freshness_tokens=freshness_tokens,
            captured_at=captured_at,
        )


def _expression(
    checksum: object, path: Sequence[Any], celltype: str, target_celltype: str
) -> dict[str, Any]:
    return {
        "type": "expression",
        "checksum": str(checksum),
        "path": list(path),
        "celltype": celltype,
        "target_celltype": target_celltype,
    }
