"""The driver of the Python clients: docs/clients/conformance.md says what it is asked and answers."""

import inspect
import json
import re
import sys
import threading
import typing

import weir
import weir_rest


def answer_each(answer):
    """Answers the requests of the input, line by line."""
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as e:
            said = {"failed": f"{type(e).__name__}: {e}"}
        print(json.dumps(said), flush=True)


def snake(name):
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).replace("-", "_").lower()


class Calls:
    """Calls the method of an operation, whatever class of weir_rest.api it is in."""

    def __init__(self, url):
        client = weir_rest.ApiClient(weir_rest.Configuration(host=url))
        apis = [cls(client) for name, cls in vars(weir_rest).items() if name.endswith("Api")]
        self._methods = {name: method for api in apis for name, method in inspect.getmembers(api, inspect.ismethod)}

    def answer(self, request):
        method = self._methods[snake(request["call"])]
        types = {p.name: re.sub(r"^Optional\[(.*)\]$", r"\1", p.annotation) for p in inspect.signature(method).parameters.values()}
        given = {snake(k): v for where in ("path", "query", "header") for k, v in request[where].items()}
        arguments = {(k if k in types else "_" + k): v for k, v in given.items()}
        if "body" in request:
            (body,) = [name for name, of in types.items() if hasattr(getattr(weir_rest, of, None), "_fields")]
            refuse_unknown(types[body], request["body"])
            arguments[body] = request["body"]
        arguments = {k: weir_rest.from_json(types[k], v) for k, v in arguments.items()}
        try:
            return {"answer": weir_rest.to_json(method(**arguments))}
        except weir_rest.ApiException as e:
            return {"refused": {"status": e.status, "code": e.code}}


def refuse_unknown(of, body):
    """What reads an answer passes over fields that the client does not know. A case has none of those."""
    unknown = set(body) - {key for key, _ in getattr(weir_rest, of)._fields.values()}
    if unknown:
        raise TypeError(f"{of} has no field {unknown}")


# ---- jobs


def new_job(job):
    """A job of a case. Lengths are not called seconds here."""
    options = {k[:-len("_seconds")] if k.endswith("_seconds") else k: v for k, v in job["options"].items()}
    key = options.pop("idempotency_key", None)
    return weir.NewJob(job["kind"], job["args"], options), key


class Producer:
    """Answers requests of producers."""

    def __init__(self, client):
        self._client, self._seen = client, []

    def answer(self, request):
        try:
            return {"answer": getattr(self, request.pop("do"))(**request)}
        except weir.JobFailed as e:
            return {"refused": {"code": e.code}}

    def enqueue(self, jobs):
        made = [new_job(j) for j in jobs]
        if len(made) == 1:
            (job, key), = made
            handles = [self._client.enqueue(job, idempotency_key=key)]
        else:
            handles = self._client.enqueue_many(job for job, _ in made)
        return [{"id": h.id, "duplicate": h.duplicate} for h in handles]

    def result(self, id):
        return self._client.handle(int(id)).wait()

    def cancel(self, id):
        self._client.cancel(int(id))

    def submit(self, name, steps):
        flow = weir.Workflow(name)
        for s in steps:
            flow.step(s["name"], new_job(s)[0], after=s["after"])
        return self._client.submit(flow)

    def schedule(self, name, every_seconds, job):
        self._client.schedule(name, new_job(job)[0], every=every_seconds)

    def unschedule(self, name):
        self._client.unschedule(name)

    def watch(self, queue):
        def listen():
            for event in self._client.events(queue=[queue]):
                self._seen.append((event.data["job_id"], event.name))
        threading.Thread(target=listen, daemon=True).start()

    def seen(self, queue):
        return self._seen


snoozed = set()


@weir.job()
def script(job: weir.Job[typing.Any]) -> typing.Any:
    """Does what its args say of this attempt."""
    sys.stdout.write(f"ran {job.id}\n")
    sys.stdout.flush()
    attempts = job.args["do"]
    for step in attempts[min(job.attempt, len(attempts)) - 1]:
        (what, value), = step.items()
        if what == "sleep":
            job.sleep(value)
        elif what == "progress":
            job.progress(value, "so far")
        elif what == "fail":
            raise ValueError(value)
        elif what == "retry in":
            raise weir.RetryIn(value, "later")
        elif what == "discard":
            raise weir.Discard(value)
        elif what == "cancel":
            raise weir.Cancel(value)
        elif what == "return":
            return value
        elif what == "return arg":
            return job.args[value]
        elif what == "return dependencies":
            return dict(job.dependencies)
        elif what == "snooze":
            if job.id not in snoozed:
                snoozed.add(job.id)
                raise weir.Snooze(value)
        else:
            raise LookupError(f"there is no step {what}")


def work(client, queues, concurrency, lease_seconds, grace_seconds):
    weir.Worker(client, [script], queues=queues, concurrency=concurrency, lease=lease_seconds, grace=grace_seconds, middleware=()).run()


mode, *arguments = sys.argv[1:]
if mode == "call":
    answer_each(Calls(*arguments).answer)
else:
    with {"rest": weir.HTTP, "sql": weir.SQL}[arguments[0]](arguments[1]) as client:
        if mode == "work":
            work(client, **json.loads(arguments[2]))
        else:
            answer_each(Producer(client).answer)
