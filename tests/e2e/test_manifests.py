"""The Kubernetes manifests: valid, every container restricted, and no way open that the design does not draw."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from conftest import ROOT

K8S = ROOT / "deploy/k8s"
USERS = {"gateway": 64101, "vault": 64102, "proxy": 64103, "audit": 64104}
# The design's drawing: who may open a connection to whom, and where.
EDGES = {("anybody", "gateway", 8787), ("gateway", "vault", 7101), ("gateway", "proxy", 7102),
         ("vault", "audit", 7103), ("proxy", "audit", 7104)}
OUTSIDE = {("gateway", "dns"), ("proxy", "dns"), ("proxy", "providers")}
PRIVATE = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]


def documents(directory):
    return [d for path in sorted(directory.glob("*.yaml")) if path.name != "kustomization.yaml"
            for d in yaml.safe_load_all(path.read_text()) if d]


@pytest.fixture(scope="module")
def base():
    return documents(K8S / "base")


def of_kind(docs, *kinds):
    return [d for d in docs if d["kind"] in kinds]


def render(directory):
    tool = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(tool[0]):
        pytest.skip("neither kubectl nor kustomize is here")
    done = subprocess.run([*tool, directory], capture_output=True, text=True)
    if "must build at directory" in done.stderr or "unknown field" in done.stderr or "json: cannot unmarshal" in done.stderr:
        pytest.skip("this kubectl's kustomize is older than version 4")
    assert done.returncode == 0 and "deprecated" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("directory", ["base", "overlays/dev", "overlays/production", "overlays/postgres", "monitoring"])
def test_valid_by_the_schemas(directory):
    docs = documents(K8S / "base") if directory == "base" else render(K8S / directory)
    assert docs
    for doc in docs:
        if not doc["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(doc, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_overlays_lose_nothing(base, overlay):
    docs = render(K8S / "overlays" / overlay)
    namespace = of_kind(docs, "Namespace")[0]["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    there = {(d["kind"], d["metadata"]["name"]) for d in docs}
    assert {(d["kind"], d["metadata"]["name"]) for d in base} <= there
    assert all(d["metadata"].get("namespace") == namespace["name"] for d in docs if d["kind"] != "Namespace")
    check_pods(docs)
    assert edges_of(docs) == (EDGES, OUTSIDE)


def check_pods(docs):
    """The restricted profile of the pod security standards, a read-only root, no token, keys as 0400 files."""
    workloads = of_kind(docs, "Deployment", "StatefulSet")
    assert {w["metadata"]["name"] for w in workloads} == set(USERS)
    for workload in workloads:
        name, pod = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == USERS[name]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC"))
        assert all(not v.get("hostPath") for v in pod["volumes"])
        keys = next(v for v in pod["volumes"] if v["name"] == "keys")
        assert keys["secret"] == {"secretName": f"seks-{name}-keys", "defaultMode": 0o400}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]} and not security.get("privileged")
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]


def test_every_pod_is_restricted(base):
    check_pods(base)


def edges_of(docs, beyond=frozenset()):
    """The edges that both ends' policies allow, and the ways out; the other ends of BEYOND are not ours."""
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(docs, "NetworkPolicy")}
    deny = policies.pop("default-deny")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    incoming, outgoing, outside = set(), set(), set()
    name_of = lambda selector: selector["matchLabels"]["app.kubernetes.io/name"]
    for spec in policies.values():
        me = name_of(spec["podSelector"])
        for rule in spec.get("ingress", []):
            ports = [p["port"] for p in rule["ports"]]
            peers = [name_of(f["podSelector"]) for f in rule.get("from", [])] or ["anybody"]
            incoming |= {(peer, me, port) for peer in peers for port in ports}
        for rule in spec.get("egress", []):
            ports = [p["port"] for p in rule["ports"]]
            for to in rule["to"]:
                if "podSelector" in to and "namespaceSelector" not in to:
                    outgoing |= {(me, name_of(to["podSelector"]), port) for port in ports}
                elif "namespaceSelector" in to:
                    assert set(ports) == {53} and "kube-system" in json.dumps(to)
                    outside.add((me, "dns"))
                else:
                    check_block(to["ipBlock"])
                    assert ports == [443]
                    outside.add((me, "providers"))
    assert outgoing == {e for e in incoming if e[0] != "anybody"} | beyond
    return incoming, outside


def test_tracing_opens_one_way_and_no_other(tmp_path):
    rel = lambda name: os.path.relpath(K8S / name, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        f"kind: Kustomization\nresources: [{rel('overlays/production')}]\ncomponents: [{rel('components/tracing')}]\n")
    docs = render(tmp_path)
    check_pods(docs)
    own = [d for d in docs if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == "proxy-tracing"]
    assert len(own) == 1 and own[0]["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "proxy"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "opentelemetry"}}}],
                    "ports": [{"protocol": "TCP", "port": 4318}]}]}
    assert edges_of([d for d in docs if d not in own]) == (EDGES, OUTSIDE)
    settings = {d["metadata"]["name"]: {v["name"]: v.get("value") for v in d["spec"]["template"]["spec"]["containers"][0]["env"]}
                for d in of_kind(docs, "Deployment", "StatefulSet")}
    assert settings["gateway"]["SEKS_TRACE"] == "1" and ":4318" in settings["proxy"]["SEKS_OTLP_ENDPOINT"]
    assert settings["gateway"]["SEKS_PUBLIC_URL"]  # what the overlay set is still there
    assert not any(v.startswith(("SEKS_TRACE", "SEKS_OTLP")) for d in ("vault", "audit") for v in settings[d])


def check_block(block):
    if ":" in block["cidr"]:
        assert block["cidr"] == "2000::/3"  # global unicast alone: no private, link-local or mapped address
    else:
        assert set(PRIVATE) <= set(block["except"])


def test_the_edges_are_the_drawing_and_nothing_more(base):
    assert edges_of(base) == (EDGES, OUTSIDE)


def test_stateless_ones_scale_and_writers_are_one(base):
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
        assert {d["metadata"]["name"] for d in of_kind(base, kind)} == {"gateway", "proxy"}
    for workload in of_kind(base, "StatefulSet"):
        assert workload["spec"]["replicas"] == 1
    for workload in of_kind(base, "Deployment"):
        assert "replicas" not in workload["spec"]  # the autoscaler's business
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert next(s for s in of_kind(base, "Service") if s["metadata"]["name"] == "proxy")["spec"]["clusterIP"] == "None"


def test_several_vaults_on_postgres():
    """The vault is one more that scales: found by a headless name, never all stopped at once, and it reaches its database."""
    docs = render(K8S / "overlays/postgres")
    check_pods(docs)
    assert edges_of(docs, {("vault", "postgresql", 5432)}) == (EDGES, OUTSIDE | {("vault", "dns")})
    workloads = {w["metadata"]["name"]: w["spec"] for w in of_kind(docs, "Deployment", "StatefulSet")}
    vault = workloads["vault"]
    assert vault["replicas"] > 1 and vault["podManagementPolicy"] == "Parallel" and vault["template"]["spec"]["topologySpreadConstraints"]
    assert workloads["audit"]["replicas"] == 1
    budgets = {d["metadata"]["name"]: d["spec"] for d in of_kind(docs, "PodDisruptionBudget")}
    assert budgets["vault"] == {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": "vault"}}}
    setting = lambda name, key: next(e["value"] for e in workloads[name]["template"]["spec"]["containers"][0]["env"] if e["name"] == key)
    service = next(s for s in of_kind(docs, "Service") if s["metadata"]["name"] == re.fullmatch(r"tcp://(\w+):7101", setting("gateway", "SEKS_VAULT"))[1])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == vault["selector"]["matchLabels"]
    store = next(v for v in vault["template"]["spec"]["volumes"] if v["name"] == "store")["secret"]
    assert store["defaultMode"] == 0o400 and setting("vault", "SEKS_STORE") == "/store/url"


def number_of_audits(docs, kind, name, port):
    env = next(w for w in of_kind(docs, kind) if w["metadata"]["name"] == name)["spec"]["template"]["spec"]["containers"][0]["env"]
    endpoints = next(e["value"] for e in env if e["name"] == "SEKS_AUDIT").split(",")
    assert endpoints == [f"tcp://$(AUDIT_{i}_SERVICE_HOST):{port}" for i in range(len(endpoints))]
    return len(endpoints)


@pytest.mark.parametrize("beside", [[], ["postgres"]])
def test_several_audit_daemons(tmp_path, beside):
    """Each has an address of its own, and vault and proxy have them all, in the order of the pods' numbers."""
    here = pathlib.Path(os.path.relpath(K8S, tmp_path.resolve()))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [str(here / "overlays/production")],
        "components": [str(here / "components" / name) for name in [*beside, "audits"]]}))
    docs = render(tmp_path)
    for doc in docs:
        kubernetes_validate.validate(doc, kubernetes_validate.latest_version(), strict=True)
    check_pods(docs)
    beyond = {("vault", "postgresql", 5432)} if beside else set()
    assert edges_of(docs, beyond)[0] == EDGES
    audit = next(w for w in of_kind(docs, "StatefulSet") if w["metadata"]["name"] == "audit")["spec"]
    count = audit["replicas"]
    assert count == number_of_audits(docs, "StatefulSet", "vault", 7103) == number_of_audits(docs, "Deployment", "proxy", 7104) > 1
    assert {"name": "SEKS_SHARD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}} in [
        {**e, "valueFrom": {"fieldRef": {"apiVersion": "v1", **e["valueFrom"]["fieldRef"]}}} if "valueFrom" in e else e
        for e in audit["template"]["spec"]["containers"][0]["env"]]
    services = {s["metadata"]["name"]: s["spec"] for s in of_kind(docs, "Service")}
    for i in range(count):
        assert services[f"audit-{i}"]["selector"] == {**audit["selector"]["matchLabels"], "statefulset.kubernetes.io/pod-name": f"audit-{i}"}
        assert {p["port"] for p in services[f"audit-{i}"]["ports"]} == {7103, 7104}
        assert services[f"audit-{i}"].get("clusterIP") != "None"  # its address comes with the pods' environment
    assert f"audit-{count}" not in services


def test_settings_are_options_that_exist(base):
    """Each SEKS_ variable of a container is an option of its daemon."""
    build = subprocess.os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    more = documents(K8S / "overlays/production") + documents(K8S / "components/postgres") + documents(K8S / "components/audits") + documents(K8S / "components/tracing")
    for workload in of_kind(base + more, "Deployment", "StatefulSet"):
        name = workload["metadata"]["name"]
        text = subprocess.run([f"{build}/services/{name}/seks-{name}", "--help"], capture_output=True, text=True).stdout
        known = {"SEKS_" + o.upper().replace("-", "_") for o in re.findall(r"--([a-z0-9-]+)", text)}
        image = (ROOT / "deploy/Dockerfile").read_text()
        for container in workload["spec"]["template"]["spec"].get("containers", []):  # a patch may be about something else
            for variable in container["env"]:
                assert variable["name"] in known, (name, variable)
        for variable in re.findall(r"(SEKS_[A-Z_]+)=", image.split(f"AS {name}\n")[1].split("\nFROM")[0]):
            assert variable in known, (name, variable)


def test_keys_for_kubernetes_go_where_they_are_needed(tmp_path):
    build = subprocess.os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    text = subprocess.run([f"{build}/cli/seks", "keygen", "--kubernetes"], capture_output=True, text=True, check=True).stdout
    secrets = {d["metadata"]["name"]: d for d in yaml.safe_load_all(text)}
    for doc in secrets.values():
        kubernetes_validate.validate(doc, kubernetes_validate.latest_version(), strict=True)
    assert set(secrets) == {f"seks-{d}-keys" for d in USERS}
    holders = lambda key: {n for n, d in secrets.items() if key in d["data"]}
    assert holders("master.key") == {"seks-vault-keys"} and holders("intake.key") == {"seks-vault-keys"}
    assert holders("grant.key") == {"seks-vault-keys", "seks-proxy-keys"}
    assert holders("audit-sign.key") == {"seks-audit-keys"}
    for daemon in USERS:
        assert holders(f"{daemon}.curve") == {f"seks-{daemon}-keys"}
