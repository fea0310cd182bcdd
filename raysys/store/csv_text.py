"""Tables as CSV for spreadsheets."""

import io

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

_FORMULA = r"^([=+\-@\t\r])"


def csv_bytes(table: pa.Table) -> bytes:
    """The table as CSV with a header. Text that a spreadsheet would take for a formula gets a ' before it."""
    columns = [
        pc.replace_substring_regex(column, _FORMULA, r"'\1") if pa.types.is_string(column.type) else column
        for column in table.columns
    ]
    buffer = io.BytesIO()
    csv.write_csv(pa.table(columns, table.column_names), buffer)
    return buffer.getvalue()
