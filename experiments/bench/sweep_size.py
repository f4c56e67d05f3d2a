#!/usr/bin/env python3
"""How the size of a sweep tells: planning it, running a shard, status and merge, in processor seconds and peak memory at three sizes each.

    python3 experiments/bench/sweep_size.py [--hylab ./hylab] [--plans 1000,10000,100000] [--shards 100,300,1000] [--dir DIR]

The shards are copies of one that `hylab run --shard` made (100 small models with all that is stored of them, of a plan of 100,000), each with
models of its own; weights are not merged. What one shard takes stays the same if growth is linear.
"""
import argparse, os, shutil, sqlite3, subprocess, tempfile

YAML = """name: many
variants:
  - {{name: A, spec: {{mixer: attention}}}}
  - {{name: B, spec: {{mixer: ssm}}}}
  - {{name: C, spec: {{mixer: attention}}, set: {{layers: 2}}}}
  - {{name: D, spec: {{mixer: ssm}}, set: {{layers: 2}}}}
variant: {{vocab: 32, d_model: 16, layers: 1, attention: {{heads: 2}}, mlp: {{d_ff: 16}}}}
tasks: [{{name: recall, kind: induction, options: {{train: 16, test: 16}}}}]
seeds: {seeds}
train: {{steps: 2, batch: 2, eval_examples: 4}}
measures: {{cache: {{tokens: 100}}}}
grid: {{train.lr: {lr}, train.weight_decay: {decay}}}
"""


def write_plan(path, models):
    points = models // 200  # of 4 variants x 50 seeds
    lr = next(n for n in range(min(points, 50), 0, -1) if points % n == 0)
    with open(path, "w") as f:
        f.write(YAML.format(seeds=list(range(1, 51)), lr=[round(1e-3 * (i + 1), 6) for i in range(lr)],
                            decay=[round(1e-2 * (i + 1), 6) for i in range(points // lr)]))


def run(what, command, per=None, ok=(0,)):
    with open("out", "w") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in ok:
        raise SystemExit(f"{what}: status {status}\n" + open("out").read()[-2000:])
    seconds = used.ru_utime + used.ru_stime
    each = f"{1000 * seconds / per[0]:10.2f} ms a {per[1]}" if per else ""
    print(f"{what:44s} {seconds:9.2f} s {used.ru_maxrss / 1024:8.0f} MB{each}", flush=True)


def make_shards(base, n):
    os.makedirs("shards", exist_ok=True)
    for k in range(1, n + 1):
        path = f"shards/many.{k}-of-{n}.db"
        shutil.copyfile(base, path)
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = OFF")
        for table in ("model", "planned"):
            db.execute(f"UPDATE {table} SET model_key = printf('%08x', ?) || substr(model_key, 9)", (k,))
        db.execute("UPDATE model SET weights = NULL")
        ords = [row[0] for row in db.execute("SELECT ord FROM planned ORDER BY ord")]
        for table in ("planned", "planned_measure"):  # rows of the plan that are this shard's own
            db.executemany(f"UPDATE {table} SET ord = ? WHERE ord = ?", [(-1 - i - 100 * (k - 1), o) for i, o in enumerate(ords)])
            db.execute(f"UPDATE {table} SET ord = -1 - ord")
        db.commit()
        db.close()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--hylab", default="./hylab")
    a.add_argument("--plans", default="1000,10000,100000")
    a.add_argument("--shards", default="100,300,1000")
    a.add_argument("--dir", help="a folder for 1 GB (a temporary one)")
    o = a.parse_args()
    hylab = os.path.realpath(o.hylab)
    with tempfile.TemporaryDirectory(dir=o.dir) as folder:
        os.chdir(folder)
        for n in map(int, o.plans.split(",")):
            write_plan(f"p{n}.yaml", n)
            run(f"plan of {n} models, 1,000 shards", [hylab, "run", f"p{n}.yaml", "--dry-run", "--shard", "1/1000"], (n, "model"))
            run(f"  stored (nothing is run)", [hylab, "run", f"p{n}.yaml", "--db", f"d{n}.db", "--time-left", "1"], (n, "model"), (0, 130))
        run("a shard of 100 models of the last plan", [hylab, "run", f"p{n}.yaml", "--shard", f"1/{n // 100}", "--db", "base/r.db"])
        run("  again, with nothing to do", [hylab, "run", f"p{n}.yaml", "--shard", f"1/{n // 100}", "--db", "base/r.db"])
        db = sqlite3.connect("base/r.db")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        print(f"{'  its database':44s} {os.path.getsize('base/r.db') / 1e6:9.2f} MB")
        for n in map(int, o.shards.split(",")):
            make_shards("base/r.db", n)
            shards = [f"shards/many.{k}-of-{n}.db" for k in range(1, n + 1)]
            run(f"merge of {n} shards of 100 models", [hylab, "merge", "--no-weights", f"m{n}.db", *shards], (n, "shard"))
            run("  again: all is known", [hylab, "merge", "--no-weights", f"m{n}.db", *shards], (n, "shard"))
            write_plan("p.yaml", 100 * n)
            run("  status of all", [hylab, "status", "p.yaml", "--shards", "shards", "--of", str(n)], (n, "shard"))
            print(f"{'  merged database':44s} {os.path.getsize(f'm{n}.db') / 1e6:9.2f} MB")
            shutil.rmtree("shards")


main()
