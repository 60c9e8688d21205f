"""The gateway's side of the protocol, for a test that has taken the gateway over: its sockets, any field at will."""
import contextlib
import pathlib
import re
import secrets
import struct
import time

import msgpack
import zmq
from zmq.utils import z85

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
SOURCE = "".join((PROTO / f"{name}_messages.h").read_text() for name in ("vault", "proxy", "audit"))
LIMITS = dict(re.findall(r"(\w+) = (\d+)\b", SOURCE))


def fields_of(message):
    text = re.search(rf"#define FIELDS_{message}\(F, L, M\)(.*?)\nPROTO_DECLARE", SOURCE, re.S)[1]
    return re.findall(r"([FL])\(M, (\w+), (\w+)", text)


FIELDS = {name: fields_of(name) for name in re.findall(r"#define FIELDS_(\w+)\(", SOURCE)}
IDS = {name.lower(): int(number) for name, number in re.findall(r"\b((?:VAULT|PROXY|AUDIT)_\w+) = (\d+),", SOURCE)}
OPS = re.findall(r"X\((\w+)\)", re.search(r"#define VAULT_OPS\(X\)(.*?)\nenum", SOURCE, re.S)[1])
EMPTY = {"UINT": 0, "BOOL": False, "TEXT": "", "BYTES": b""}


def encode(message, **values):
    row = [IDS[message]]
    for kind, name, type_ in FIELDS[message]:
        row.append(values.pop(name, [] if kind == "L" else EMPTY[type_]))
    assert not values, values
    return msgpack.packb(row)


def decode(record):
    return msgpack.unpackb(record, raw=False, strict_map_key=False, unicode_errors="surrogateescape")


def named(message, row):
    return dict(zip([name for _, name, _ in FIELDS[message]], row[1:]))


class Link:
    """One DEALER to a daemon; `keys` is (own public, own private, the server's public) for tcp."""

    def __init__(self, endpoint, keys=None):
        self.instance = secrets.token_bytes(16)
        self.context = zmq.Context()  # its thread is of the network namespace that this link is made in
        self.context.blocky = False  # a test that fails leaves its sockets
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.ROUTING_ID, b"S" + self.instance)
        self.socket.setsockopt(zmq.LINGER, 0)
        if keys:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = (z85.encode(k) for k in keys)
        self.socket.connect(endpoint)
        self.peer, self.heard = None, []

    def send(self, *records):
        with contextlib.suppress(zmq.Again):  # refused by the other end: there is nobody to send to
            self.socket.send(self.instance + b"".join(struct.pack(">I", len(r)) + r for r in records), zmq.NOBLOCK)

    def receive(self, seconds):
        """The records that come within so many seconds."""
        if not self.socket.poll(int(seconds * 1000)):
            return []
        frame = self.socket.recv()
        self.heard.append(frame)
        self.peer, at, records = frame[:16], 16, []
        while at < len(frame):
            size = struct.unpack(">I", frame[at:at + 4])[0]
            records.append(frame[at + 4:at + 4 + size])
            at += 4 + size
        return records

    def meet(self, seconds=10):
        """Whether the daemon answers a heartbeat."""
        deadline = time.monotonic() + seconds
        while not self.peer and time.monotonic() < deadline:
            self.send()
            self.receive(0.2)
        return self.peer is not None

    def ask(self, record, call, seconds=10):
        """The first record of the answer to CALL."""
        self.send(record)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for got in self.receive(max(0, deadline - time.monotonic())):
                if decode(got)[1] == call:
                    return decode(got)
        return None

    def close(self):
        self.context.destroy()
