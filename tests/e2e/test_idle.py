"""What a kept connection costs while nobody uses it, and that it goes on as if nothing had been."""
import pathlib
import re
import socket

from conftest import until

KEPT, POOLS, POOL_KIB = 60, 10000, 48


def pools_kib(pid):
    """What is resident of the area that connections' memory comes from."""
    maps = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    return int(re.search(rf"^Size: +{POOLS * POOL_KIB} kB\n(?:.*\n){{2}}Rss: +(\d+) kB", maps, re.M)[1])


def answer(s):
    got = b""
    while b"\r\n\r\n" not in got or not got.endswith(b"}"):
        piece = s.recv(65536)
        assert piece, got
        got += piece
    assert got.startswith(b"HTTP/1.1 200"), got
    return got


def test_idle_connections_give_their_memory_back(broker, tokens):
    head = (f"GET /api/openai/v1/models HTTP/1.1\r\nHost: {broker.url[7:]}\r\nAuthorization: Bearer {tokens['openai']}\r\n"
            f"X-Long: {'x' * 9000}\r\n\r\n").encode()
    gateway = broker.pid("gateway")
    kept = [socket.create_connection(("127.0.0.1", broker.port), timeout=30) for _ in range(KEPT)]
    for s in kept:
        s.sendall(head)
        answer(s)
        last = pools_kib(gateway)
    assert last >= POOL_KIB  # of the last one at least, whatever time the others took
    for s in kept[::2]:  # half of the next head, in more than a page
        s.sendall(head[:5000])
    until(lambda: pools_kib(gateway) < KEPT * 8)
    for at, s in enumerate(kept):
        s.sendall(head if at % 2 else head[5000:])
        answer(s)
        s.close()
