"""The rows of many calls on disk: Parquet, one folder for each day (UTC) on which calls began.

::

    calls.parquet/day=2026-11-28/20261129T020011-5f0c9a1e.parquet
    calls.parquet/day=2026-11-29/20261129T020011-5f0c9a1e.parquet

One row is one call, with its labels as a map and its findings as a list in it, so that a call is
there with its findings or not at all. pandas, polars and DuckDB open the folder::

    pandas.read_parquet("calls.parquet")
    polars.read_parquet("calls.parquet", columns=["findings"]).explode("findings").unnest("findings")
    SELECT capture, unnest(findings, recursive := true) FROM 'calls.parquet/*/*.parquet'

A file is written beside its place and moved into it: a run that is interrupted leaves whole files, and
the next one goes on from there. Files and folders are their owner's alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pandas as pd

from workbench.beside import written_beside
from workbench.capture.partfile import lock
from workbench.exceptions import NotAvailable
from workbench.surveys.row import CALL, FINDING, Surveyed

__all__ = ["DataSet", "call_frame", "finding_frame"]

_DAY: Final = "day="
#: Columns in which something may be missing.
_DTYPES: Final[dict[str, Any]] = {
    "text": "string", "count": "Int64", "number": "float64", "flag": "boolean",
}  # fmt: skip


class DataSet:
    """A data set of calls.

    Attributes:
        path: Its folder.
    """

    def __init__(self, path: str | Path) -> None:
        """Name it; nothing is read or made.

        Raises:
            NotAvailable: Without pyarrow.
            ValueError: If there is something else, or a URL was given.
        """
        if "://" in str(path):
            raise ValueError(f"{path}: the data set is written to a folder of this machine")
        self.path = Path(path)
        try:
            self._arrow = import_module("pyarrow")
            self._parquet = import_module("pyarrow.parquet")
            self._dataset = import_module("pyarrow.dataset")
        except ModuleNotFoundError as error:
            raise NotAvailable(
                f"{path} needs the extra: pip install 'pipecat-bandwidth[survey]'"
            ) from error
        if self.path.exists() and not self.is_one(self.path) and not _is_empty(self.path):
            raise ValueError(f"{path}: is there, and no data set of calls")
        self._schema = self._made_schema()

    @staticmethod
    def is_one(path: str | Path) -> bool:
        """Whether there is a data set, as far as names tell."""
        folder = Path(path)
        return folder.is_dir() and any(folder.glob(f"{_DAY}*/*.parquet"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make it, if it is not there, and let nobody else write to it.

        Raises:
            BlockingIOError: If somebody else does.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self.path, os.O_RDONLY) if os.name != "nt" else -1
        try:
            if fd >= 0 and not lock(fd):
                raise BlockingIOError(f"{self.path}: another survey is writing to it")
            for torn in self.path.glob(f"{_DAY}*/.*.parquet"):  # of a run that was killed
                torn.unlink()
            yield
        finally:
            if fd >= 0:
                os.close(fd)

    def known(self) -> Iterator[tuple[str, int, str]]:
        """Path or URL, size and SHA-256 of the captures that it has, without reading more."""
        for batch in self._read(["capture", "file_bytes", "sha256"]).to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def add(self, surveyed: Sequence[Surveyed]) -> None:
        """Write calls: a file for each day on which some began."""
        days: dict[str, list[dict[str, Any]]] = {}
        for one in surveyed:
            row = one.call | {
                "labels": list(one.call["labels"].items()),
                "findings": list(one.findings),
            }
            days.setdefault(f"{one.call['started_at']:%Y-%m-%d}", []).append(row)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.parquet"
        for day, rows in sorted(days.items()):
            folder = self.path / f"{_DAY}{day}"
            folder.mkdir(mode=0o700, exist_ok=True)
            self._write(self._arrow.Table.from_pylist(rows, schema=self._schema), folder / name)

    def drop(self, captures: Collection[str]) -> None:
        """Take out the rows of some captures, which are there anew."""
        wanted = self._arrow.array(sorted(captures), self._arrow.string())
        for file in sorted(self.path.glob(f"{_DAY}*/*.parquet")):
            table = self._parquet.read_table(file, partitioning=None)
            is_gone = import_module("pyarrow.compute").is_in(table["capture"], wanted).to_pylist()
            kept = [number for number, gone in enumerate(is_gone) if not gone]
            if not kept:
                file.unlink()
            elif len(kept) < len(is_gone):
                self._write(table.take(kept), file)

    def calls(self, since: datetime | None = None) -> pd.DataFrame:
        """One row a call, as :func:`call_frame`."""
        rows = self._read(list(CALL), since).to_pandas()
        return call_frame(rows.assign(labels=[dict(pairs or ()) for pairs in rows["labels"]]))

    def findings(self, since: datetime | None = None) -> pd.DataFrame:
        """One row a finding, as :func:`finding_frame`."""
        table = self._read(["capture", "started_at", "findings"], since)
        compute = import_module("pyarrow.compute")
        nested = table["findings"].combine_chunks()
        of_call = compute.list_parent_indices(nested)
        owners = table.select(["capture", "started_at"]).take(of_call).to_pandas()
        flat = self._arrow.Table.from_struct_array(compute.list_flatten(nested)).to_pandas()
        return finding_frame(owners, flat)

    def _read(self, columns: list[str], since: datetime | None = None) -> Any:
        if not self.is_one(self.path):
            return self._schema.empty_table().select(columns)
        files = self._dataset.dataset(
            self.path, schema=self._schema, format="parquet", partitioning="hive"
        )
        wanted = None if since is None else self._dataset.field("started_at") >= since
        return files.to_table(columns=columns, filter=wanted)

    def _write(self, table: Any, place: Path) -> None:
        with written_beside(place) as part:
            self._parquet.write_table(table, part, compression="zstd")

    def _made_schema(self) -> Any:
        pa = self._arrow
        types = {
            "text": pa.string(),
            "time": pa.timestamp("us", "UTC"),
            "count": pa.int64(),
            "number": pa.float64(),
            "flag": pa.bool_(),
            "labels": pa.map_(pa.string(), pa.string()),
        }

        def fields(columns: Mapping[str, tuple[str, str]]) -> list[Any]:
            return [
                pa.field(name, types[kind], metadata={"meaning": meaning})
                for name, (kind, meaning) in columns.items()
            ]

        return pa.schema([*fields(CALL), ("findings", pa.list_(pa.struct(fields(FINDING))))])


def call_frame(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """One row a call, in order of time: the columns of :data:`workbench.surveys.row.CALL`.

    ``labels`` is spread: the label ``release`` is the column ``label_release``.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(CALL))
    names = sorted({name for labels in frame["labels"] for name in labels})
    spread = {
        f"label_{name}": pd.Series([labels.get(name) for labels in frame["labels"]], frame.index)
        for name in names
    }
    labels = pd.DataFrame(spread, index=frame.index, dtype="string")
    whole = pd.concat([_typed(frame.drop(columns="labels"), CALL), labels], axis=1)
    return whole.sort_values(["started_at", "capture"], ignore_index=True)


def finding_frame(owners: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a finding, in order of time and, within a call, worst first.

    Args:
        owners: ``capture`` and ``started_at`` of the call of each.
        rows: The columns of :data:`workbench.surveys.row.FINDING`.

    Returns:
        Both, and ``number``: which finding of its call it is, from 1.
    """
    number = owners.groupby("capture", sort=False).cumcount() + 1
    owned = _typed(owners.assign(number=number), CALL)
    whole = pd.concat([owned, _typed(rows, FINDING)], axis=1)
    return whole.sort_values(["started_at", "capture", "number"], ignore_index=True)


def _typed(frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The same, whether it was read or has just been made."""
    kinds = {name: columns[name][0] for name in frame.columns if name in columns}
    typed = frame.astype({n: _DTYPES[kind] for n, kind in kinds.items() if kind in _DTYPES})
    times = [name for name, kind in kinds.items() if kind == "time"]
    return typed.assign(**{n: pd.to_datetime(frame[n], utc=True).dt.as_unit("us") for n in times})


def _is_empty(path: Path) -> bool:
    """Whether it is a folder in which a data set can begin."""
    return path.is_dir() and not any(path.iterdir())
