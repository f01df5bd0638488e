"""A worker for tests that kill it: worker_program.py (http|sql) ADDRESS QUEUE FOLDER. Each run of a handler leaves a
line in the folder's file "runs", which the tests count."""

import os
import sys
import time

import weir

transport, address, queue, folder = sys.argv[1:]


@weir.job(queue=queue)
def count(n: int) -> int:
    with open(os.path.join(folder, "runs"), "a") as file:
        file.write(f"{n} {os.getpid()}\n")
    return n


@weir.job(queue=queue)
def nap(job: weir.Job, length: float) -> str:
    with open(os.path.join(folder, "naps"), "a") as file:
        file.write(f"{os.getpid()}\n")
    end = time.monotonic() + length
    while time.monotonic() < end:
        job.sleep(0.05)
    return "slept"


client = weir.HTTP(address) if transport == "http" else weir.SQL(address)
weir.Worker(client, [count, nap], concurrency=4, lease=3, grace=1, middleware=(), on_start=lambda w: print("ready", flush=True)).run()
