"""The driver of the Python clients: docs/clients/conformance.md says what it is asked and answers."""

import inspect
import json
import re
import sys

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


mode, *arguments = sys.argv[1:]
if mode == "call":
    answer_each(Calls(*arguments).answer)
