"""The first ten lines of the guide and of the README run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["docs/clients/python.md", "client/python/README.md"])
def test_first_lines_run(server, page):
    code = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]
    code = code.replace("http://127.0.0.1:8080", server.url)
    # A worker that runs until it is stopped is told to stop by its own job.
    code = code.replace('    return f"receipt', '    print("sent"); import os, signal; signal.raise_signal(signal.SIGTERM)\n    return f"receipt') \
        if ".run()" in code else code
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("receipt of order 42\n", "sent\n")


def test_every_name_of_the_guide_is_there():
    import weir
    import weir.testing
    text = (ROOT / "docs/clients/python.md").read_text() + (ROOT / "docs/migrating/celery.md").read_text()
    for name in set(re.findall(r"\bweir\.([A-Za-z_]+(?:\.[a-z_]+)?)\b", text)):
        found = weir
        for part in name.split("."):
            found = getattr(found, part, None)
        assert found is not None, f"weir.{name}"
