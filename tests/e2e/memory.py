"""Looks into the daemons' memory from outside: how much it is, and what is in it."""
import pathlib
import re
import threading
import time


def memory_kib(pids):
    total = 0
    for pid in pids.values():
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
    return total


class Peak:
    """The highest memory of PIDS while it is open."""

    def __init__(self, pids):
        self.pids, self.before, self.peak, self.on = pids, memory_kib(pids), 0, True

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while self.on:
            self.peak = max(self.peak, memory_kib(self.pids))
            time.sleep(0.1)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()

    @property
    def growth_mib(self):
        return (self.peak - self.before) / 1024


SHADOW = 4 << 30  # a mapping that is larger is the address sanitizer's, which holds no bytes of the program


def memory_holds(pid, needles):
    """Which of NEEDLES the process has in readable memory."""
    found, piece, overlap = set(), 16 << 20, max(map(len, needles))
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            start, end = (int(x, 16) for x in match.groups()) if match else (0, 0)
            if "[v" in line or end - start > SHADOW:
                continue
            for at in range(start, end, piece):
                try:
                    memory.seek(at)
                    data = memory.read(min(piece + overlap, end - at))
                except (OSError, ValueError):
                    continue  # guard pages, and what the kernel shows to nobody
                found |= {n for n in needles if n in data}
    return found
