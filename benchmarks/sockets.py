"""What a delivery costs: many sockets on a running gateway, one publisher, and the CPU its processes took.

    python benchmarks/sockets.py http://127.0.0.1:8000 KEY PID [SOCKETS [EVENTS_PER_SECOND [SECONDS]]]

KEY needs the scope `events:publish`; PID is the gateway's main process. Clients share the machine with it.
"""

import asyncio
import json
import sys
import time
import urllib.request
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect


def cpu(pid: int) -> float:
    """Seconds of CPU of a process and all it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / 100 + sum(cpu(int(child)) for child in children)


def publish(url: str, key: str, sent_at: float) -> None:
    body = json.dumps({"topic": "bench", "type": "tick", "data": {"at": sent_at}}).encode()
    request = urllib.request.Request(f"{url}/events", body, {"X-API-Key": key})  # noqa: S310 - the operator's own address
    urllib.request.urlopen(request, timeout=10).read()  # noqa: S310


async def reader(ws: ClientConnection, waits: list[float], ids: list[str]) -> None:
    async for text in ws:
        message = json.loads(text)
        if "id" in message:
            waits.append(time.time() - message["data"]["at"])
            ids.append(message["id"])


async def main(url: str, key: str, pid: int, sockets: int = 400, rate: int = 10, seconds: int = 6) -> None:  # noqa: PLR0917
    headers, address = {"X-API-Key": key}, url.replace("http", "ws", 1) + "/ws/events/"
    opened = [await connect(address, additional_headers=headers, compression=None) for _ in range(sockets)]
    for ws in opened:
        await ws.send('{"type":"subscribe","topics":["bench"]}')
        await ws.recv()
    waits: list[float] = []
    seen: list[list[str]] = [[] for _ in opened]
    readers = [asyncio.create_task(reader(ws, waits, ids)) for ws, ids in zip(opened, seen, strict=True)]
    before, begun = cpu(pid), time.monotonic()
    for number in range(rate * seconds):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        await asyncio.to_thread(publish, url, key, time.time())
    await asyncio.sleep(1)
    spent, wanted = cpu(pid) - before, rate * seconds
    in_order = sum(len(ids) == wanted and ids == seen[0] for ids in seen)
    waits.sort()
    print(f"{len(waits)} of {wanted * sockets} deliveries; {in_order} of {sockets} sockets got all, once, in order")
    print(f"{spent / len(waits) * 1e6:.0f} us of CPU per delivery; p50 {_ms(waits, 0.5)}, p99 {_ms(waits, 0.99)} ms")
    for task in readers:
        task.cancel()
    await asyncio.gather(*(ws.close() for ws in opened))


def _ms(waits: list[float], quantile: float) -> str:
    return f"{waits[int(len(waits) * quantile)] * 1_000:.0f}"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:])))
