import csv
import io

import pyarrow as pa

from raysys.store.csv_text import csv_bytes


def test_a_spreadsheet_takes_no_text_for_a_formula():
    table = pa.table({"uid": ["=1+2", "-x", "@a", "+b", "u\n1", 'say "no"', None], "value": [-1.5] * 7})
    rows = list(csv.reader(io.StringIO(csv_bytes(table).decode())))
    assert rows[0] == ["uid", "value"]
    assert [row[0] for row in rows[1:]] == ["'=1+2", "'-x", "'@a", "'+b", "u\n1", 'say "no"', ""]
    assert rows[1][1] == "-1.5"
