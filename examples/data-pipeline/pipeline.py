"""Loads files of sales into PostgreSQL, each exactly once, and sums them up: see README.md."""

import csv
import os
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Dict

import psycopg

import weir

DSN = os.environ.get("PIPELINE_DSN", "")


@dataclass
class Loaded:
    rows: int
    skipped: int


@weir.job(queue="pipeline", max_attempts=10, retry={"strategy": "fixed", "base_seconds": 1})
def load(job: weir.Job, path: str) -> Loaded:
    """Inserts the rows of a file and completes the job in one transaction: a worker that dies half way leaves nothing,
    and one that was given up and comes late is rolled back."""
    loaded = Loaded(0, 0)
    with psycopg.connect(DSN) as db, open(path, newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            job.check()  # raises where the job was cancelled, or its time is up
            try:
                sale = (path, date.fromisoformat(row["day"]), row["shop"], Decimal(row["amount"]))
            except (KeyError, ValueError, ArithmeticError) as e:
                job.log("a row is left out", "warn", line=number, why=str(e) or type(e).__name__)
                loaded.skipped += 1
                continue
            db.execute("insert into sale (file, day, shop, amount) values (%s, %s, %s, %s)", sale)
            loaded.rows += 1
        job.complete_in(db, loaded)
    return loaded


@weir.job(queue="pipeline")
def summarise(job: weir.Job) -> Dict[str, Decimal]:
    """Sums up by shop, when all files are loaded."""
    files = [job.dependency(step, Loaded) for step in job.dependencies or {}]
    job.progress(50, f"{sum(f.rows for f in files)} rows of {len(files)} files")
    with psycopg.connect(DSN) as db:
        db.execute("truncate shop_total")
        db.execute("insert into shop_total select shop, sum(amount) from sale group by shop")
        totals = dict(db.execute("select shop, amount from shop_total").fetchall())
        job.complete_in(db, totals)
    return totals


def prepare() -> None:
    """Makes the application's own tables."""
    with psycopg.connect(DSN) as db:
        db.execute("create table if not exists sale (file text, day date, shop text, amount numeric)")
        db.execute("create table if not exists shop_total (shop text primary key, amount numeric)")


def submit(client: weir.Client, folder: str) -> int:
    """A step for each file, and one that waits for all of them."""
    flow = weir.Workflow("sales of " + Path(folder).name)
    files = sorted(Path(folder).resolve().glob("*.csv"))
    steps = [flow.step(f"load {p.name}", load.new(str(p))) for p in files]
    flow.step("summarise", summarise.new(), after=steps)
    return client.submit(flow)


def main(command: str, *args: str) -> None:
    client = weir.SQL(DSN)
    if command == "prepare":
        prepare()
    elif command == "submit":
        print(submit(client, args[0]))
    elif command == "worker":
        weir.Worker(client, [load, summarise], concurrency=4, lease=5).run()
    elif command == "report":
        totals = client.workflow_result(int(args[0]), weir.Step("summarise", Dict[str, Decimal]), timeout=600)
        for shop, amount in sorted(totals.items()):
            print(f"{shop:20} {amount:>14}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not DSN:
        sys.exit("usage: PIPELINE_DSN=postgres://… pipeline.py prepare | submit FOLDER | worker | report ID")
    main(*sys.argv[1:])
