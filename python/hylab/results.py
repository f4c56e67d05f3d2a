"""A results database as pandas tables, over its documented views (README, "The database"). It is only read."""

import os
import sqlite3
from urllib.parse import quote

from ._lib import Error
from .model import _parsed, frame


def results(db):
    """Opens a results database (``hylab run --db``) for reading."""
    return Results(db)


class Results:
    """A results database. ``sql`` asks it anything; the tables have a column for each parameter that is asked for."""

    def __init__(self, db):
        self.path = os.fspath(db)
        if not os.path.isfile(self.path):
            raise Error(f"{self.path}: there is no such file")
        where = "file:" + quote(os.path.abspath(self.path))
        try:
            self._db = sqlite3.connect(where + "?mode=ro", uri=True)
            try:
                views = self._names()
            except sqlite3.OperationalError:  # an archive: a folder in which SQLite may not make its files
                self._db.close()
                if os.path.exists(self.path + "-wal") and os.path.getsize(self.path + "-wal"):
                    raise Error(
                        f"{self.path}: its newest rows are in {self.path}-wal, which can be read only where SQLite may "
                        "write: copy both files to a folder of yours"
                    ) from None
                self._db = sqlite3.connect(where + "?mode=ro&immutable=1", uri=True)
                views = self._names()
        except sqlite3.Error as e:
            raise Error(f"{self.path}: {e}") from None
        if not {"v_run", "v_final"} <= views:
            self._db.close()
            raise Error(f"{self.path}: no results of hylab are in this database")
        if "v_param" not in views:
            self._db.close()
            raise Error(
                f"{self.path}: of an older version: hylab doctor --db {self.path} --migrate brings it up to date"
            )

    def _names(self):
        return {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}

    def close(self):
        self._db.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<hylab.Results {self.path}>"

    def rows(self, query, *values):
        """The rows of a SELECT as dicts."""
        try:
            cursor = self._db.execute(query, values)
            names = [c[0] for c in cursor.description or []]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
        except sqlite3.Error as e:
            raise Error(f"{self.path}: {e}: {query.strip()[:200]}") from None

    def sql(self, query, *values):
        """The rows of a SELECT as a DataFrame; ? in it are the values."""
        return frame(self.rows(query, *values))

    def experiments(self):
        """Names of the experiments that were planned in it."""
        return [r["experiment"] for r in self.rows("SELECT DISTINCT experiment FROM v_plan ORDER BY experiment")]

    def _with_params(self, table, params):
        """Puts columns of parameters beside a table with run_id."""
        if params is False or params is None or not len(table):
            return table
        every = params is True or params == "varying"
        patterns = ["*"] if every else [params] if isinstance(params, str) else list(params)
        where = " OR ".join("path GLOB ?" for _ in patterns)
        runs, found = set(table["run_id"]), {}
        for r in self.rows(f"SELECT run_id, path, value FROM v_param WHERE {where}", *patterns):
            if r["run_id"] in runs:
                found.setdefault(r["path"], {})[r["run_id"]] = _parsed(str(r["value"]))
        missing = [p for p in patterns if not any(c in p for c in "*?[") and p not in found]
        if missing:
            raise Error(f"{self.path}: none of these models has the parameter {missing[0]}")
        if params == "varying":
            found = {path: of for path, of in found.items() if len(of) < len(runs) or len(set(of.values())) > 1}
        import pandas

        columns = {path: table["run_id"].map(of) for path, of in sorted(found.items())}
        return pandas.concat([table, pandas.DataFrame(columns, index=table.index)], axis=1)

    def models(self, params=True):
        """A row for each model: the columns of v_run, and its parameters ("train.lr", "attention.window", ...) as
        columns.

        params: True: all; False: none; or paths with shell wildcards, "train.*" or ["train.lr",
        "attention.window"].
        """
        return self._with_params(self.sql("SELECT * FROM v_run ORDER BY run_id"), params)

    def final(self, metric=None, experiment=None, cell=None, scale=None, params="varying", **where):
        """A row for each final figure: metric, cell, layer, kind, head, value, stderr, n ..., with parameters of its
        model as columns.

        metric, cell, and any other column (variant="hymba", seed=1): only such rows; a list: any of these.
        experiment (and scale): what that experiment asks for, from v_result, with its columns; else all of v_final.
        params: "varying": those whose values differ between these models; else as for ``models``.
        """
        view = "v_final" if experiment is None and scale is None else "v_result"
        tests, values = [], []
        for column, wanted in dict(metric=metric, experiment=experiment, cell=cell, scale=scale, **where).items():
            if wanted is None:
                continue
            of = [wanted] if isinstance(wanted, (str, int, float)) else list(wanted)
            tests.append(f'"{column}" IN ({", ".join("?" * len(of))})')
            values += of
        known = [r["name"] for r in self.rows(f"SELECT name FROM pragma_table_info('{view}')")]
        for column in where:
            if column not in known:
                raise Error(f"{view} has no column {column}: there are {', '.join(known)}")
        table = self.sql(f"SELECT * FROM {view}" + (" WHERE " + " AND ".join(tests) if tests else ""), *values)
        if metric is not None and not len(table):
            have = {r["metric"] for r in self.rows(f"SELECT DISTINCT metric FROM {view}")}
            lacks = [m for m in ([metric] if isinstance(metric, str) else metric) if m not in have]
            if lacks:
                raise Error(
                    f"{self.path}: no figure of {lacks[0]} is stored: there are {', '.join(sorted(have)) or 'none'}"
                )
        return self._with_params(table, params)
