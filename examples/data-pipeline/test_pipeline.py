"""The pipeline as its README describes it. One of two workers is killed in the middle."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

import weir.testing

PROGRAM = str(Path(__file__).with_name("pipeline.py"))
FILES, ROWS = 60, 200


@pytest.fixture
def sales(tmp_path):
    """Files of sales, some with a broken row, and what each shop sold."""
    rng, totals = random.Random(7), Counter()
    for n in range(FILES):
        with open(tmp_path / f"day-{n:03}.csv", "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["day", "shop", "amount"])
            for _ in range(ROWS):
                shop, amount = rng.choice(["north", "south", "west"]), Decimal(rng.randrange(100, 100_000)) / 100
                out.writerow([date(2026, 1, 1) + timedelta(n), shop, amount])
                totals[shop] += amount
            if n % 10 == 0:
                out.writerow(["no day", "north", "1"])
    return tmp_path, totals


def test_files_are_loaded_once_whatever_dies(sales):
    folder, totals = sales
    with weir.testing.Server() as server:
        env = {**os.environ, "PIPELINE_DSN": server.dsn}

        def run(*args):
            return subprocess.run([sys.executable, PROGRAM, *args], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

        def worker():
            return subprocess.Popen([sys.executable, PROGRAM, "worker"], env=env)

        run("prepare")
        doomed, other = worker(), worker()
        id = run("submit", str(folder)).strip()
        with psycopg.connect(server.dsn, autocommit=True) as db:
            end = time.monotonic() + 120
            while db.execute("select count(distinct file) from sale").fetchone()[0] < FILES / 10:
                assert time.monotonic() < end, "nothing is loaded"
                time.sleep(0.01)
            doomed.send_signal(signal.SIGKILL)
            report = run("report", id)
            other.terminate()
            assert other.wait(60) == 0
            doomed.wait()
            assert db.execute("select count(*) from sale").fetchone()[0] == FILES * ROWS
            skipped = db.execute("select count(*) from weir.job_logs where message = 'a row is left out' and level = 'warn'").fetchone()[0]
    assert skipped >= FILES / 10
    assert {line.split()[0]: Decimal(line.split()[1]) for line in report.splitlines()} == totals
