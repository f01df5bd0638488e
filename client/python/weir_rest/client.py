"""Calls of the REST API."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Mapping, Optional
from urllib.parse import quote, urlencode

import urllib3

from .codec import from_json, to_json


@dataclass
class Configuration:
    """Where the service is, and how to reach it."""

    host: str = "http://127.0.0.1:8080"
    access_token: Optional[str] = None  # an API key, or an access token
    ssl_ca_cert: Optional[str] = None  # a file with authorities to trust
    connection_pool_maxsize: int = 4
    timeout: float = 75.0  # seconds, more than a call may wait


class ApiException(Exception):
    """An answer that is a problem. `code` is stable; `problem` has all of it."""

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status, self.problem, self.headers = status, problem, headers
        self.code = str(problem.get("code", ""))
        super().__init__(f"{status} {self.code}: {problem.get('detail', '')}")


class RestClient:
    """Holds the connections."""

    def __init__(self, configuration: Configuration) -> None:
        more = {}
        if configuration.ssl_ca_cert:
            more["ssl_context"] = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        self.pool_manager = urllib3.PoolManager(maxsize=configuration.connection_pool_maxsize, **more)


class ApiClient:
    """Makes the calls of the classes in weir_rest.api. Give one to each: JobsApi(client)."""

    def __init__(self, configuration: Optional[Configuration] = None) -> None:
        self.configuration = configuration or Configuration()
        self.rest_client = RestClient(self.configuration)

    def call(self, method: str, template: str, answer: Optional[str], *, path: Mapping[str, Any], query: Mapping[str, Any],
             headers: Mapping[str, Any], body: Any) -> Any:
        """Makes one call, and returns its answer as the type that is named, or raises an ApiException."""
        url = self.configuration.host.rstrip("/") + template.format(**{k: quote(str(v), safe="") for k, v in path.items()})
        given = {k: _text(v) for k, v in query.items() if v is not None}
        if given:
            url += "?" + urlencode(given)
        sent = {k: _text(v) for k, v in headers.items() if v is not None}
        if self.configuration.access_token:
            sent["Authorization"] = "Bearer " + self.configuration.access_token
        content = None
        if body is not None:
            content = json.dumps(to_json(body)).encode()
            sent["Content-Type"] = "application/json"
        got = self.rest_client.pool_manager.request(
            method, url, body=content, headers=sent, timeout=self.configuration.timeout, retries=False)
        is_json = "json" in got.headers.get("Content-Type", "")
        if got.status >= 300:
            raise ApiException(got.status, json.loads(got.data) if is_json else {}, got.headers)
        if answer is None or not got.data:
            return None
        return from_json(answer, json.loads(got.data)) if is_json else got.data.decode()


def _text(value: Any) -> str:
    """How a value is written in a query or a header."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(to_json(value))
    if isinstance(value, (list, tuple)):
        return ",".join(_text(v) for v in value)
    return str(value)
