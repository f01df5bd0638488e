"""The Python SDK beside Celery: how many jobs a second one worker process works, and what a job costs it in processor
time.

    PYTHONPATH=../../client/python python3 bench.py [JOBS] [ROUNDS]

It needs weir (or WEIR_BIN), redis-server and Celery with its Redis transport. Each starts on a free port with a folder of
its own: PostgreSQL with its default settings, so that a commit is on the disk, and Redis with an append-only file that is
synced every second. Each round works the same jobs with each of them in turn, with a handler that returns a small result
and results that are kept. Celery acks late, so that it too loses no job of a worker that is killed.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import weir

BATCH = 1_000


def args(n):
    return {"n": n, "text": "x" * 200}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_weir(folder):
    child = subprocess.Popen([os.environ.get("WEIR_BIN", "weir"), "dev", "--data-dir", folder, "--addr", "127.0.0.1:0"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = ""
    for line in child.stdout:
        text += line
        if "Stop with" in line:
            break
    url, port = re.search(r"REST +(http:\S+)/v1", text)[1], re.search(r"127\.0\.0\.1:(\d+), database weir", text)[1]
    with open(os.path.join(folder, "postgres", "weir.password")) as file:
        return child, url, f"postgres://postgres:{file.read().strip()}@127.0.0.1:{port}/weir"


def start_redis(folder):
    port = free_port()
    child = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes",
                              "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if "Ready to accept" in line:
            return child, f"redis://127.0.0.1:{port}/0"
    raise RuntimeError("redis-server did not start")


def celery_app(url):
    import celery
    app = celery.Celery("bench", broker=url, backend=url)
    app.conf.update(task_acks_late=True, task_default_queue=os.environ.get("QUEUE", "bench"), worker_redirect_stdouts=False)

    @app.task(name="bench")
    def bench(n, text):
        return {"n": n}
    return app, bench


class Meter:
    """Counts jobs of a worker process, and prints the figures when the last has ended."""

    def __init__(self, jobs):
        self.jobs, self.left, self.began = jobs, jobs, None

    def start(self):
        if self.began is None:
            self.began, self.cpu = time.monotonic(), time.process_time()

    def end(self):
        self.left -= 1
        if self.left == 0:
            seconds, cpu = time.monotonic() - self.began, time.process_time() - self.cpu
            print(json.dumps({"per_second": round(self.jobs / seconds), "microseconds": round(1e6 * cpu / self.jobs)}), flush=True)


def work_weir(address, queue, jobs, style):
    meter = Meter(int(jobs))

    @weir.job("bench", queue=queue)
    def in_thread(n: int, text: str) -> dict:
        meter.start()
        return {"n": n}

    @weir.job("bench", queue=queue)
    async def in_task(n: int, text: str) -> dict:
        meter.start()
        return {"n": n}
    client = weir.HTTP(address) if address.startswith("http") else weir.SQL(address)
    kind, slots = (in_task, 100) if style == "asyncio" else (in_thread, 10)
    weir.Worker(client, [kind], concurrency=slots, middleware=(), on_end=lambda job, outcome: meter.end()).run()


def work_celery(url, queue, jobs, pool):
    from celery import signals
    meter = Meter(int(jobs))
    signals.task_prerun.connect(lambda **_: meter.start(), weak=False)
    signals.task_success.connect(lambda **_: meter.end(), weak=False)
    app, _ = celery_app(url)
    app.worker_main(["worker", "--pool", pool, "--concurrency", "10", "--queues", queue, "--without-gossip", "--without-mingle",
                     "--loglevel", "ERROR"])


def measured(jobs, do):
    began, cpu = time.monotonic(), time.process_time()
    do()
    return {"per_second": round(jobs / (time.monotonic() - began)), "microseconds": round(1e6 * (time.process_time() - cpu) / jobs)}


def enqueue_weir(address, queue, jobs):
    kind = weir.job("bench", queue=queue)(lambda n, text: None)
    with weir.HTTP(address) if address.startswith("http") else weir.SQL(address) as client:
        for n in range(0, jobs, BATCH):
            client.enqueue_many([kind.new(**args(i)) for i in range(n, n + BATCH)])


def enqueue_celery(url, jobs):
    _, task = celery_app(url)
    for n in range(jobs):
        task.delay(**args(n))


def worked(*role):
    child = subprocess.Popen([sys.executable, __file__, *role], stdout=subprocess.PIPE, text=True, env={**os.environ, "QUEUE": role[2]})
    line = next(line for line in child.stdout if line.startswith("{"))
    child.send_signal(signal.SIGTERM)
    child.stdout.read()
    child.wait()
    return json.loads(line)


def main(jobs, rounds):
    folder = tempfile.mkdtemp(prefix="weir-bench-")
    os.chmod(folder, 0o755)  # started by root, PostgreSQL runs as another user
    (server, url, dsn), (redis, broker) = start_weir(os.path.join(folder, "weir")), start_redis(folder)
    print(f"{jobs} jobs; enqueued and worked a second, and processor time of this process and of the worker's a job")
    try:
        for round_ in range(1, rounds + 1):
            for name, address, style in (("weir over REST, 10 threads", url, "threads"), ("weir over REST, asyncio", url, "asyncio"),
                                         ("weir over SQL, 10 threads", dsn, "threads"), ("weir over SQL, asyncio", dsn, "asyncio"),
                                         ("Celery, 10 threads", broker, "threads"), ("Celery, solo", broker, "solo")):
                queue = f"{re.sub('[^a-z]+', '-', name.lower())}-{round_}"
                os.environ["QUEUE"] = queue
                if name.startswith("weir"):
                    enqueued = measured(jobs, lambda: enqueue_weir(address, queue, jobs))
                    work = worked("weir", address, queue, str(jobs), style)
                else:
                    enqueued = measured(jobs, lambda: enqueue_celery(address, jobs))
                    work = worked("celery", address, queue, str(jobs), style)
                print(f"{name:27} enqueued {enqueued['per_second']}/s {enqueued['microseconds']} µs   "
                      f"worked {work['per_second']}/s {work['microseconds']} µs", flush=True)
    finally:
        for child in (server, redis):
            child.terminate()
            child.communicate()
        shutil.rmtree(folder)


if __name__ == "__main__":
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role == "weir":
        work_weir(*sys.argv[2:])
    elif role == "celery":
        work_celery(*sys.argv[2:])
    else:
        main(int(role or 10_000), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
