#!/usr/bin/env python3
"""Event streams for bench.py: a provider that sends 50 events a second on each, and a reader that says how old they
came.  Both on one machine, so both read one clock.

usage: events.py serve PORT | events.py read URL TOKEN STREAMS SECONDS
"""
import asyncio
import json
import sys
import time
import urllib.parse

EVERY_S = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def serve_one(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(HEAD)
            while True:
                event = b'data: {"t": %d}\n\n' % time.monotonic_ns()
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(EVERY_S)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(port):
    async with await asyncio.start_server(serve_one, "127.0.0.1", port, backlog=1024) as server:
        await server.serve_forever()


async def read_one(url, token, delays, until):
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], head
    begin = time.monotonic() + 1  # what comes while all the others begin does not count
    body = b""
    while time.monotonic() < until:
        size = int(await reader.readline(), 16)  # an event may come in two chunks
        body += (await reader.readexactly(size + 2))[:size]
        *lines, body = body.split(b"\n")
        now = time.monotonic_ns()
        if time.monotonic() > begin:
            delays += [now - json.loads(line[6:])["t"] for line in lines if line.startswith(b"data: ")]
    writer.close()


async def read(url, token, streams, seconds):
    delays, until = [], time.monotonic() + seconds
    await asyncio.gather(*[read_one(urllib.parse.urlsplit(url), token, delays, until) for _ in range(streams)])
    delays.sort()
    print(json.dumps({"count": len(delays), "p50": delays[len(delays) // 2] / 1e3, "p99": delays[len(delays) * 99 // 100] / 1e3}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(read(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
