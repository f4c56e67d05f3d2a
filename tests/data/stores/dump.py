#!/usr/bin/env python3
"""dump.py DATABASE - what the views of a results database show, as text with tabs.

A line is SECTION, then the columns that the line "# SECTION" before it names; text is escaped (\\t \\n \\\\), NULL is \\N, and
numbers have every digit. Sections: the seven documented views of schema versions 1 to 3, whose columns are the same in all three, then
what no view shows: artifacts and samples, those of superseded runs among them, the attempts of runs, what an experiment and the
paper say.
The last column, run_status, is the status of the run that a row belongs to (empty where it is of none): rows of failed runs are
kept, and a comparison that does not want them leaves out the lines that end in a tab and "failed".

Every column is asked for by its name, so the same script reads a database that a newer version has migrated, as long as the names
are there. The database is opened for reading only."""
import hashlib
import sqlite3
import sys
from pathlib import Path

FACT = "metric metric_version unit cell step {}value stderr n x y meta"
# view: columns; by what its rows are sorted (all columns break ties)
VIEWS = {
    "v_run": "run_id run_key seed device status variant experiment grid spec_hash task task_kind git_commit git_dirty build host "
             "device_name threads kernel_path started ended resumes steps error",
    "v_metric": "run_id variant task grid seed device " + FACT.format("final ") + " metric_id",
    "v_final": "run_id variant task grid seed device " + FACT.format("final ") + " metric_id",
    "v_curve": "run_id variant task grid seed step loss lr grad_norm tokens_per_s",
    "v_timing": "run_id variant task grid seed metric unit context batch median min max repetitions path jobs threads device_name",
    "v_plan": "experiment scale sets ord variant variant_ord task task_ord grid grid_ord seed run_key device run_id status",
    "v_result": "experiment scale sets variant variant_ord task task_ord grid grid_ord seed run_id " + FACT.format(""),
}
# Tables: what is read, the columns as SQL, the run of a row. The last two are of columns that came with versions 2 and 3: an older
# database has no such section.
TABLES = {
    "artifact": ("artifact", "run_id name dtype shape meta length(data) sha256(data)", "run_id"),
    "sample": ("sample JOIN metric m ON m.id = metric_id JOIN metric_def d ON d.id = m.def_id",
               "m.run_id d.name m.cell m.step m.final metric_id rep sample.value", "m.run_id"),
    "attempt": ("run", "id superseded_by run_key seed device", "id"),
    "experiment": ("experiment", "id name scale sets question sha256(yaml) planned", None),
    "paper": ("paper JOIN experiment e ON e.id = experiment_id", "e.name e.scale e.sets variant paper.name paper.value", None),
    "experiment.tune": ("experiment", "id tune_by tune_cell", None),
    "experiment.base": ("experiment", "id base", None),
}


# What the tables of a database are called from version 4 on, where a run is a model and its measurements.
SINCE_4 = {
    "artifact": "(SELECT x.model_id AS run_id, a.* FROM artifact a JOIN measurement x ON x.id = a.measurement_id) AS artifact",
    "sample": "sample JOIN (SELECT x.model_id AS run_id, m.* FROM metric m JOIN measurement x ON x.id = m.measurement_id) AS m"
              " ON m.id = metric_id JOIN metric_def d ON d.id = m.def_id",
    "attempt": "(SELECT model_key AS run_key, * FROM model) AS run",
}


def text(v):
    if v is None:
        return "\\N"
    if isinstance(v, float):
        return repr(v)
    return str(v).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def section(db, name, source, columns, run):
    runs = "model" if "model" in tables(db) else "run"
    status = f"coalesce((SELECT r.status FROM {runs} r WHERE r.id = {run}), '')" if run else "''"
    order = ", ".join(str(i + 1) for i in range(len(columns)))
    print("# " + "\t".join([name] + columns + ["run_status"]))
    for row in db.execute(f"SELECT {', '.join(columns)}, {status} FROM {source} ORDER BY {order}"):
        print("\t".join([name] + [text(v) for v in row]))


def tables(db):
    return {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: dump.py DATABASE")
    path = Path(sys.argv[1])
    if not path.is_file():
        sys.exit(f"dump.py: there is no file {path}")
    # a database with a log beside it is read with that; one without is not written to, not even a lock
    log = Path(str(path) + "-wal").exists()
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro" + ("" if log else "&immutable=1"), uri=True)
    db.create_function("sha256", 1, lambda b: hashlib.sha256(b if isinstance(b, bytes) else b.encode()).hexdigest(), deterministic=True)
    for name, columns in VIEWS.items():
        section(db, name, name, columns.split(), name + ".run_id")
    have = {row[1] for row in db.execute("PRAGMA table_info(experiment)")}
    for name, (source, columns, run) in TABLES.items():
        if "." in name and not have.issuperset(columns.split()):
            continue
        section(db, name, SINCE_4.get(name, source) if "model" in tables(db) else source, columns.split(), run)


main()
