"""Enqueues a job, works on it and prints its result."""

import os

import weir


@weir.job
def greet(Name: str) -> str:
    return f"Hello, {Name}, from Python"


with weir.HTTP(os.environ.get("WEIR_URL", "http://127.0.0.1:8080")) as client, weir.Worker(client, [greet]):
    print(client.enqueue(greet.new("weir")).wait(30))
