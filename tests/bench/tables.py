"""How bench.py writes figures down: a function per part gives the lines of its section in docs/benchmarks.md."""
BESIDE = ("direct", "nginx", "haproxy", "broker", "broker, tcp and CURVE")
ROWS = ("nginx", "haproxy", "broker", "nginx, https provider", "broker, https provider", "broker, tcp and CURVE")
COLOURS = ("#8c8c8c", "#1f6feb", "#1a7f37", "#8250df")


def table(*heads):
    return ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def connections_of(figures):
    return sorted({int(key.split("/")[0]) for key in figures})


def requests(figures):
    lines = table("connections", "", "req/s", "to nginx", "CPU us/req", "to nginx", "p50 ms", "p99 ms", "p50 added", "p99 added")
    for connections in connections_of(figures):
        for name in ROWS:
            base = "nginx, https provider" if name == "broker, https provider" else "nginx"
            of, nginx = ({key: figures[f"{connections}/{one}/{key}"] for key in ("rate", "cpu", "p50", "p99")} for one in (name, base))
            lines.append(row(f"{connections}", name, f"{of['rate']:.0f}", f"{of['rate'] / nginx['rate']:.2f}", f"{of['cpu']:.1f}",
                             f"{of['cpu'] / nginx['cpu']:.2f}", f"{of['p50']:.2f}", f"{of['p99']:.2f}", f"{of['p50'] - nginx['p50']:.2f}",
                             f"{of['p99'] - nginx['p99']:.2f}"))
    lines.append("")
    for connections in (c for c in connections_of(figures) if c in (1, 64)):
        prefix = f"{connections}/broker/cpu seks-"
        lines.append(f"CPU microseconds per request by daemon, connections {connections}: " + ", ".join(
            f"{key[len(prefix):]} {value:.1f}" for key, value in sorted(figures.items()) if key.startswith(prefix)) + ".")
    return ["1 KiB of JSON. \"https provider\" is TLS towards the provider and compared with nginx doing the same; \"tcp and CURVE\" has the "
            "daemons talk over TCP with CURVE instead of local sockets.", "", *lines, "", "![Requests per second, as a share of nginx's](benchmarks.svg)"]


def plot(figures):
    """Bars of the share of nginx's requests per second, by connections."""
    bases = {"haproxy": "nginx", "broker": "nginx", "broker, https provider": "nginx, https provider", "broker, tcp and CURVE": "nginx"}
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 320" font-family="sans-serif" font-size="12">',
             '<rect width="700" height="320" fill="#fff"/>']
    for i in range(6):
        y = 260 - i * 40
        parts.append(f'<path d="M50 {y}H690" stroke="#ddd"/><text x="42" y="{y + 4}" text-anchor="end">{i * 0.2:.1f}</text>')
    for g, connections in enumerate(connections_of(figures)):
        for i, (name, base) in enumerate(bases.items()):
            share = figures[f"{connections}/{name}/rate"] / figures[f"{connections}/{base}/rate"]
            x, height = 64 + g * 158 + i * 36, min(share, 1.2) * 200
            parts.append(f'<rect x="{x}" y="{260 - height:.0f}" width="32" height="{height:.0f}" fill="{COLOURS[i]}"/>'
                         f'<text x="{x + 16}" y="{254 - height:.0f}" text-anchor="middle">{share:.2f}</text>')
        parts.append(f'<text x="{134 + g * 158}" y="278" text-anchor="middle">{connections} connections</text>')
    for i, name in enumerate(bases):
        parts.append(f'<rect x="{60 + i * 160}" y="294" width="12" height="12" fill="{COLOURS[i]}"/><text x="{78 + i * 160}" y="304">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def added(figures, prefix, decimals, unit):
    """p50 and p99 of the direct way and of each peer, what is added to the direct ones, and CPU where it was counted."""
    cpu = f"{prefix}nginx/cpu" in figures
    lines = table("", f"p50 {unit}", f"p99 {unit}", f"p50 added {unit}", f"p99 added {unit}", *(["CPU us/event", "to nginx"] if cpu else []))
    for name in BESIDE:
        p50, p99 = figures[f"{prefix}{name}/p50"], figures[f"{prefix}{name}/p99"]
        each = (p50, p99, p50 - figures[f"{prefix}direct/p50"], p99 - figures[f"{prefix}direct/p99"])
        spent = figures.get(f"{prefix}{name}/cpu", 0)
        cells = [f"{spent:.1f}", f"{spent / figures[f'{prefix}nginx/cpu']:.2f}"] if cpu and name != "direct" else [""] * (2 * cpu)
        lines.append(row(name, *(f"{value:.{decimals}f}" for value in each), *cells))
    return lines


def late(figures):
    return ["1,000 requests a second to a provider that answers after 20 ms, by `openloop.c`: sent by the clock, whether or not those before "
            "were answered, with exponential gaps between them, as of many clients that know nothing of each other. A latency counts from when "
            "a request was to be sent.", "", *added(figures, "", 2, "ms"), "",
            f"To nginx the broker adds {figures['broker/p50'] - figures['nginx/p50']:.2f} ms at p50 and "
            f"{figures['broker/p99'] - figures['nginx/p99']:.2f} ms at p99, in which the wait for the disk is, twice for who comes while it syncs.", "",
            "As many, but 50 at the same instant every 50 ms: one core at a time works through them, and the last waits for those before it.", "",
            *added(figures, "at once/", 2, "ms")]


def gateways(figures):
    lines = table("", "req/s", "the broker is", "CPU us/req", "p50 ms", "p99 ms")
    for name in ["nginx", "broker", *(key[:-6] for key in figures if key.endswith("/label"))]:
        rate, cpu, p50, p99 = (figures[f"{name}/{key}"] for key in ("rate", "cpu", "p50", "p99"))
        lines.append(row(name, f"{rate:.0f}", f"{figures['broker/rate'] / rate:.2f} times as fast", f"{cpu:.0f}", f"{p50:.1f}", f"{p99:.1f}"))
    return ["A chat completion (POST, 1 KiB back) at 64 connections. None of the others opens a sealed key or writes a durable record for "
            "each call. Each runs as its makers advise for production: Portkey's gateway as one process like in its own image, LiteLLM with a "
            "worker for each core, its production mode and no debugging output, mitmproxy as the one process that it can be.", "", *lines]


def events(figures):
    idle = (figures["silent without/cpu"] + figures["silent without again/cpu"]) / 2
    return ["200 streams of 50 events/s each; provider and reader are small C programs (`standin.c`, `streams.c`), and an event says when it was "
            "sent. The streams are not in step: each sends at moments of its own, drawn from a fixed seed, so that an event mostly travels alone "
            "and whoever it meets on its way has to be woken for it.", "", *added(figures, "", 0, "us"), "",
            "The same with all 200 in step, an event of each at the same instant every 20 ms: they share the wake-ups, and the last waits for "
            "those before it.", "", *added(figures, "in step/", 0, "us"), "",
            f"Short requests at 64 connections beside 3,000 open streams that are silent: {figures['silent with/cpu']:.1f} us "
            f"of CPU each, {idle:.1f} without them, {figures['silent with/cpu'] / idle:.2f} times as much."]


def bodies(figures):
    lines = table("", "GB/s down", "to nginx", "CPU s/GB", "GB/s up", "to nginx", "CPU s/GB")
    for name in BESIDE:
        cells = [name]
        for way in ("down", "up"):
            rate, cpu = figures[f"{name}/{way}"], figures[f"{name}/{way} cpu"]
            cells += [f"{rate:.2f}", f"{rate / figures[f'nginx/{way}']:.2f}", "" if name == "direct" else f"{cpu:.2f}"]
        lines.append(row(*cells))
    return ["256 MiB, one body at a time, scrubbed of the key on its way down; nginx with its buffering off.", "", *lines]


def memory(figures):
    lines = table("the four daemons together", "MiB", "at most")
    for text, key, limit in (("idle", "idle", "64"), ("while 500 event streams run", "500 streams", "256"),
                             ("growth during a download of 1 GiB", "1 GiB down, growth", "32"),
                             ("growth during an upload of 1 GiB", "1 GiB up, growth", "32"), ("after 64, then 256 busy connections", "after load", "")):
        lines.append(row(text, f"{figures[key]:.1f}", limit))
    lines += ["", *table("one more", "KiB", "at most")]
    for text, key, limit in (("connection that has been idle for five seconds", "idle connection, KiB", "8"), ("silent open stream", "silent stream, KiB", "16"),
                             ("stream of 50 events/s", "event stream, KiB", "16")):
        lines.append(row(text, f"{figures[key]:.1f}", limit))
    return ["Proportional set size; the limits are those that the design promises.", "", *lines]


def times(figures):
    lines = table("", "seconds until a call is answered", "at most")
    for key, value in figures.items():
        lines.append(row("`./run`, with its keys and data there" if key == "start" else key, f"{value:.2f}", "2"))
    return lines


SECTIONS = {"requests": ("Requests", requests), "late": ("Behind a slow provider", late), "gateways": ("Other gateways", gateways),
            "events": ("Event streams", events), "bodies": ("Large bodies", bodies), "memory": ("Memory", memory), "times": ("Starting", times)}
