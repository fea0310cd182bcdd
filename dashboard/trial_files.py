"""What is kept of a trial, and how to get it again, as the Trial page shows it."""

import json
import shlex
from dataclasses import asdict, replace

import pyarrow as pa
import streamlit as st

from dashboard.elements import table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.records import TrialRecord
from raysys.store.pictures import file_sha256, files_of, has_student
from raysys.store.reader import Snapshot

_SMALL_FILE = 4_000_000  # bytes; its hash is told at once


def trial_files(view: View, record: TrialRecord) -> None:
    """What is kept of it."""
    files = files_of(view.layout, record.uid)
    if record.weights_sha256:
        st.text("sha256 of the student's weights, by name and value, as the trial reported it:")
        st.code(record.weights_sha256, language=None)
    if not files.num_rows:
        st.info("No file is kept of it: students are kept while they may be on the front.")
        return
    large = [size for size in files["bytes"].to_pylist() if size > _SMALL_FILE]
    every = bool(large) and st.toggle(
        f"Hash the large files, too ({sum(large) / 1e6:,.0f} MB)", key="hash-all"
    )
    hashes = [
        file_sha256(view.layout, row["file"]) if every or row["bytes"] <= _SMALL_FILE else None
        for row in files.to_pylist()
    ]
    table(
        files.append_column("sha256", pa.array(hashes, pa.string())),
        "files-table",
        f"{files.num_rows} files of trial {record.uid}, with size and sha256.",
        column_config={
            "bytes": st.column_config.NumberColumn(format="localized"),
            "written": st.column_config.DatetimeColumn("written (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        },
    )


def trial_repeat(view: View, record: TrialRecord) -> None:
    """How to get the same student again, and what it was made with."""
    run, uid = view.run, record.uid
    st.text("Once more, in a run of its own (the same student on the same machine and thread count):")
    st.code(f"raysys trial --from {shlex.quote(f'{run.path}:{uid}')}", language="shell", wrap_lines=True)
    if has_student(view.layout, uid):
        st.text("Its student, as safetensors with config and model card:")
        command = f"raysys export {shlex.quote(run.path)} --student {shlex.quote(uid)} -o {shlex.quote(uid)}"
        st.code(command, language="shell", wrap_lines=True)
    st.text("Its config:")
    config = {**asdict(replace(record.config, options={})), "options": dict(record.config.options)}
    st.code(json.dumps(config, indent=2), language="json")
    st.text("What it was made with:")
    rows = cached(_environment, run)
    table(rows, "environment-table", f"{rows.num_rows} versions and hashes of the run.")


def _environment(run: Snapshot) -> pa.Table:
    manifest = run.manifest
    teacher, data = manifest.teacher, manifest.dataset
    rows = {
        "raysys": manifest.raysys,
        **manifest.versions,
        "code sha256": manifest.code,
        "space": str(manifest.space.get("name", "")),
        "space sha256": manifest.space_digest,
        "data set": str(data.get("name", "")),
        "data set sha256": str(data.get("sha256", "")),
        "teacher": f"{teacher.id} ({teacher.architecture})" if teacher else "",
        "teacher sha256": teacher.sha256 if teacher else "",
    }
    known = {name: value for name, value in rows.items() if value}
    return pa.table({"what": list(known), "value": list(known.values())})
