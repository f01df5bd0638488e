"""What a worker may do: with a key, with none, and over a pool of connections."""

import asyncio

import pytest

import weir
from conftest import PATIENCE, Node, working


def test_worker_that_may_not_claim_ends_with_the_reason(server, queue):
    worker = weir.Worker(weir.HTTP(server.url), queues=["not a name"])
    with pytest.raises(weir.WeirError) as e:
        worker._work(None)
    assert e.value.code == "invalid_argument"


def test_worker_with_a_key(server, queue):
    """Tokens are sealed for the key, and nothing else is different."""
    @weir.job(queue=queue)
    async def long(job: weir.Job) -> str:
        job.log("a line")
        await asyncio.sleep(2)
        return "done"

    node = Node(server, WEIR_AUTH="true")
    try:
        with pytest.raises(weir.WeirError) as e, weir.HTTP(node.url) as stranger:
            stranger.enqueue(long.new())
        assert e.value.code == "unauthenticated"
        with weir.HTTP(node.url, key=server.key) as client, working(client, long, lease=1):
            assert client.enqueue(long.new()).wait(PATIENCE) == "done"
    finally:
        node.kill()


def test_worker_and_producer_over_a_pool(server, queue):
    pools = pytest.importorskip("psycopg_pool")

    @weir.job(queue=queue)
    def double(n: int) -> int:
        return 2 * n

    with pools.ConnectionPool(server.dsn, min_size=1) as pool, weir.SQL(pool) as client, working(client, double):
        assert [h.wait(PATIENCE) for h in client.enqueue_many([double.new(n) for n in range(5)])] == [0, 2, 4, 6, 8]
        with pytest.raises(weir.WeirError, match="priority"):
            client.enqueue(double.new(1).but(priority=11))
        assert client.enqueue(double.new(4)).wait(PATIENCE) == 8
