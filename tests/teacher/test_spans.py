from pathlib import Path

import numpy as np
import pytest

from raysys.errors import CorruptRunError
from raysys.oracle import Response
from raysys.records import EVALUATION
from raysys.teacher.journal import Journal
from raysys.teacher.ledger import Charge, RequestKey
from raysys.teacher.log import FILE, LocalLog
from raysys.teacher.spans import Span, ledger_spans


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def charge(journal: Journal, uid: str, sequence: int) -> None:
    key = RequestKey(uid, sequence, f"{uid}-{sequence}", 2)
    journal.append_sent([(key, 2)])
    journal.append_charges([Charge(key, Response(np.zeros(2, np.int64)))])


def test_a_span_is_from_the_opening_of_an_account_to_its_closing(tmp_path: Path) -> None:
    journal = Journal(LocalLog(tmp_path), Clock())
    journal.append_open(EVALUATION, 4, 0)  # at 1
    charge(journal, EVALUATION, 0)  # 2, 3
    journal.append_open("u00000", 10, 0)  # 4
    charge(journal, "u00000", 0)  # 5, 6
    journal.append_open("u00001", 10, 0)  # 7
    journal.append_close("u00000")  # 8
    charge(journal, "u00001", 0)  # 9, 10
    journal.append_counted(6)  # 11
    journal.close()
    assert ledger_spans(tmp_path) == [Span("u00000", 4, 8, True), Span("u00001", 7, 10, False)]


def test_a_resumed_trial_has_a_span_for_each_time(tmp_path: Path) -> None:
    journal = Journal(LocalLog(tmp_path), Clock())
    journal.append_open("u00000", 10, 0)
    charge(journal, "u00000", 0)  # 2, 3; then it died
    journal.append_open("u00000", 10, 1)  # 4
    journal.append_close("u00000")  # 5
    journal.close()
    assert ledger_spans(tmp_path) == [Span("u00000", 1, 3, False), Span("u00000", 4, 5, True)]


def test_without_a_ledger_there_are_none_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert ledger_spans(tmp_path) == []
    (tmp_path / FILE).write_text("00000000 {}\n")
    with pytest.raises(CorruptRunError, match="damaged"):
        ledger_spans(tmp_path)
