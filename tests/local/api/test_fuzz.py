"""Random operations: versions grow, watches tell the truth, and nothing outlives its owner."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from dask_k8s_local.api import ApiServer
from tests.local.api.http import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Http, eventually
from tests.local.api.objects import CORE, CRDS, thing_crd

THINGS = "/apis/example.org/v1/namespaces/default/things"
PATHS = {"ConfigMap": f"{CORE}/configmaps", "Pod": f"{CORE}/pods", "Thing": THINGS}
VERSIONS = {"ConfigMap": "v1", "Pod": "v1", "Thing": "example.org/v1"}
NAMES = [f"n{number}" for number in range(8)]
WAIT = "example.org/wait"


class Follower:
    """Follows all objects of a kind, and lists again when its version is gone."""

    def __init__(self, http: Http, kind: str, dice: random.Random) -> None:
        self.http, self.kind, self.dice = http, kind, dice
        self.state: dict[str, int] = {}
        self.version = 0
        self.restarts = 0

    async def run(self) -> None:
        while True:
            self.restarts += 1
            if not self.version:
                listed = (await self.http.get(PATHS[self.kind])).body
                self.version = int(listed["metadata"]["resourceVersion"])
                self.state = {
                    one["metadata"]["name"]: int(one["metadata"]["resourceVersion"])
                    for one in listed["items"]
                }
            async with self.http.watch(PATHS[self.kind], resourceVersion=self.version) as watch:
                for _ in range(self.dice.randrange(1, 60)):
                    line = await watch.response.content.readline()
                    if not line or not self._take(*watch.parsed(line)):
                        break

    def _take(self, type_: str, body: dict[str, Any]) -> bool:
        if type_ == "ERROR":
            assert body["code"] == 410
            self.version = 0
            return False
        name, version = body["metadata"]["name"], int(body["metadata"]["resourceVersion"])
        assert version > self.version, "versions grow along a watch"
        assert (type_ == "ADDED") == (name not in self.state), f"{type_} {name}"
        self.version = version
        if type_ == "DELETED":
            del self.state[name]
        else:
            self.state[name] = version
        return True


class Player:
    """Does one random thing after the other."""

    def __init__(self, http: Http, dice: random.Random) -> None:
        self.http, self.dice = http, dice
        self.statuses: dict[int, int] = {}
        self.last = 0

    async def play(self) -> None:
        kind, name = self.dice.choice(list(PATHS)), self.dice.choice(NAMES)
        move: Callable[[str, str], Any] = self.dice.choice(
            [
                self.create,
                self.create,
                self.create,
                self.update,
                self.patch,
                self.apply,
                self.delete,
                self.finish,
            ]
        )
        answer: Answer = await move(kind, name)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        assert answer.status < 500, answer.text

    def body(self, kind: str, name: str) -> dict[str, Any]:
        own: dict[str, Any] = {"name": name, "labels": {"color": self.dice.choice(["red", "blue"])}}
        if self.dice.random() < 0.1:
            own["finalizers"] = [WAIT]
        body: dict[str, Any] = {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": own}
        if kind == "ConfigMap":
            body["data"] = {self.dice.choice("abc"): str(self.dice.randrange(5))}
        elif kind == "Pod":
            image = f"busybox:{self.dice.randrange(4)}"
            body["spec"] = {"containers": [{"name": "main", "image": image}]}
        else:
            body["spec"] = {
                "replicas": self.dice.randrange(-1, 5),
                "color": self.dice.choice(["red", "blue"]),
            }
        return body

    async def create(self, kind: str, name: str) -> Answer:
        body = self.body(kind, name)
        if self.dice.random() < 0.4:
            owner_kind, owner_name = self.dice.choice(list(PATHS)), self.dice.choice(NAMES)
            owner = await self.http.get(f"{PATHS[owner_kind]}/{owner_name}")
            if owner.status == 200:
                reference = {
                    "apiVersion": VERSIONS[owner_kind],
                    "kind": owner_kind,
                    "name": owner_name,
                    "uid": owner.body["metadata"]["uid"],
                    "blockOwnerDeletion": self.dice.random() < 0.5,
                }
                body["metadata"]["ownerReferences"] = [reference]
        return await self.http.post(PATHS[kind], body)

    async def update(self, kind: str, name: str) -> Answer:
        answer = await self.http.get(f"{PATHS[kind]}/{name}")
        if answer.status != 200:
            return answer
        body = answer.body
        body["metadata"].setdefault("annotations", {})["seen"] = str(self.dice.randrange(5))
        if self.dice.random() < 0.2:
            body["metadata"]["resourceVersion"] = "1"
        return await self.http.put(f"{PATHS[kind]}/{name}", body)

    async def patch(self, kind: str, name: str) -> Answer:
        path = f"{PATHS[kind]}/{name}"
        label = self.dice.choice(["red", "blue", None])
        if self.dice.random() < 0.3:
            replace = [{"op": "add", "path": "/metadata/labels/color", "value": label or "x"}]
            return await self.http.patch(path, replace, JSON_PATCH)
        type_ = STRATEGIC if kind != "Thing" and self.dice.random() < 0.5 else MERGE
        return await self.http.patch(path, {"metadata": {"labels": {"color": label}}}, type_)

    async def apply(self, kind: str, name: str) -> Answer:
        return await self.http.apply(
            f"{PATHS[kind]}/{name}",
            self.body(kind, name),
            self.dice.choice(["first", "second"]),
            force=str(self.dice.random() < 0.5).lower(),
        )

    async def delete(self, kind: str, name: str) -> Answer:
        policy = self.dice.choice(["Background", "Foreground", "Orphan", None])
        return await self.http.delete(f"{PATHS[kind]}/{name}", {"propagationPolicy": policy})

    async def finish(self, kind: str, name: str) -> Answer:
        patch = {"metadata": {"finalizers": None}}
        answer = await self.http.get(f"{PATHS[kind]}/{name}")
        held = answer.status == 200 and answer.body["metadata"].get("finalizers") == [WAIT]
        return await self.http.patch(f"{PATHS[kind]}/{name}", patch) if held else answer


async def objects(http: Http) -> list[dict[str, Any]]:
    return [one for path in PATHS.values() for one in (await http.get(path)).body["items"]]


async def garbage_is_collected(http: Http) -> bool:
    """Tell whether what has owners has one that is there, and whether nothing waits for what is gone."""
    everything = await objects(http)
    uids = {one["metadata"]["uid"] for one in everything}
    blocked = {
        owner["uid"]
        for one in everything
        for owner in one["metadata"].get("ownerReferences") or ()
        if owner.get("blockOwnerDeletion")
    }
    for one in everything:
        own = one["metadata"]
        if "deletionTimestamp" in own:
            waits = WAIT in own["finalizers"] or own["uid"] in blocked
            if not waits or "orphan" in own["finalizers"]:
                return False
        elif own.get("ownerReferences") and not {owner["uid"] for owner in own["ownerReferences"]} & uids:
            return False
    return True


@pytest.mark.parametrize(
    ("seed", "operations"), [(1, 1_000), pytest.param(2, 10_000, marks=pytest.mark.full)]
)
async def test_random_operations(http: Http, server: ApiServer, seed: int, operations: int) -> None:
    dice = random.Random(seed)
    await http.post(CRDS, thing_crd())
    followers = [Follower(http, kind, random.Random(seed + at)) for at, kind in enumerate([*PATHS, *PATHS])]
    tasks = [asyncio.create_task(one.run()) for one in followers]
    player = Player(http, dice)
    for number in range(operations):
        await player.play()
        if dice.random() < 0.01:
            server.faults.cut_watches()
        if dice.random() < 0.002:
            server.faults.forget_history()
        assert server.store.version >= player.last
        player.last = server.store.version
        if number % 500 == 499:
            await eventually(lambda: garbage_is_collected(http))

    async def all_followers_are_up_to_date() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        for follower in followers:
            listed = (await http.get(PATHS[follower.kind])).body["items"]
            now = {one["metadata"]["name"]: int(one["metadata"]["resourceVersion"]) for one in listed}
            if follower.state != now:
                return False
        return True

    await eventually(lambda: garbage_is_collected(http))
    await eventually(all_followers_are_up_to_date, seconds=20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {200, 201, 404, 409, 422} <= player.statuses.keys()
    assert sum(one.restarts for one in followers) > len(followers)


TARGET = "target"
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "ü" * 70,
    [],
    [None],
    [[1]],
    {},
    {"": 1},
    {"a": None},
]


def spoiled(body: Any, dice: random.Random) -> Any:
    """Return a copy with something wrong somewhere."""
    if isinstance(body, dict) and body and dice.random() < 0.85:
        key = dice.choice(list(body))
        return {**body, key: spoiled(body[key], dice)}
    if isinstance(body, list) and body and dice.random() < 0.85:
        at = dice.randrange(len(body))
        return [*body[:at], spoiled(body[at], dice), *body[at + 1 :]]
    return dice.choice(JUNK)


def samples() -> dict[str, dict[str, Any]]:
    """Return a valid object for each kind that has rules of its own, by the path of its collection."""
    container = {
        "name": "main",
        "image": "busybox:1",
        "args": ["a"],
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "value": "b"},
        ],
        "ports": [{"name": "http", "containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": 1}},
        "readinessProbe": {"httpGet": {"port": "http"}},
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    spec = {
        "containers": [container],
        "initContainers": [{**container, "name": "first", "restartPolicy": "Always"}],
        "volumes": [
            {"name": "v", "configMap": {"name": "c"}},
            {
                "name": "w",
                "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]},
            },
        ],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "nodeSelector": {"a": "b"},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
        ],
    }
    labels = {
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
    }
    own = {"generateName": "x-", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    return {
        f"{CORE}/pods": {
            "metadata": {**own, "ownerReferences": [owner], "finalizers": ["a/b"]},
            "spec": spec,
        },
        f"{CORE}/services": {
            "metadata": own,
            "spec": {
                "type": "NodePort",
                "ports": [{"name": "a", "port": 80, "targetPort": "http", "nodePort": 30000}],
                "selector": {"a": "b"},
                "clusterIP": "127.96.7.7",
            },
        },
        f"{CORE}/configmaps": {"metadata": own, "data": {"a": "b"}, "binaryData": {"c": "ZA=="}},
        f"{CORE}/secrets": {"metadata": own, "data": {"a": "Yg=="}, "stringData": {"c": "d"}},
        f"{CORE}/events": {"metadata": own, "involvedObject": {"namespace": "default", "name": "x"}},
        f"{CORE}/resourcequotas": {
            "metadata": own,
            "spec": {"hard": {"pods": "100k", "requests.cpu": "10k"}},
        },
        "/apis/apps/v1/namespaces/default/deployments": {
            "metadata": own,
            "spec": {
                "replicas": 0,
                "selector": labels,
                "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec},
            },
        },
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets": {
            "metadata": own,
            "spec": {"minAvailable": 1, "selector": labels},
        },
        "/apis/coordination.k8s.io/v1/namespaces/default/leases": {
            "metadata": own,
            "spec": {"leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"},
        },
        f"{rbac}/rolebindings": {
            "metadata": own,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}],
        },
        "/api/v1/nodes": {"metadata": own, "spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}},
        CRDS: thing_crd(
            **{"x-kubernetes-validations": [{"rule": "self.replicas < 9"}], "required": ["color"]}
        ),
        THINGS: {
            "apiVersion": "example.org/v1",
            "kind": "Thing",
            "metadata": own,
            "spec": {"replicas": 1, "color": "red"},
        },
    }


@pytest.mark.parametrize(
    ("seed", "operations"), [(3, 1_000), pytest.param(4, 20_000, marks=pytest.mark.full)]
)
async def test_no_nonsense_breaks_the_server(http: Http, seed: int, operations: int) -> None:
    dice = random.Random(seed)
    await http.post(CRDS, thing_crd())
    bodies = samples()
    kinds = {CRDS: ("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    for path, body in bodies.items():
        if path != CRDS:
            named = {**body, "metadata": {**body["metadata"], "name": TARGET}}
            answer = await http.post(path, named, fieldValidation="Strict")
            assert answer.status == 201, answer.text
            kinds[path] = (answer.body["apiVersion"], answer.body["kind"])
    statuses: dict[int, int] = {}
    for _ in range(operations):
        path = dice.choice(list(bodies))
        body = spoiled(bodies[path], dice)
        for _ in range(dice.randrange(2)):
            body = spoiled(body, dice)
        type_ = dice.choice([None, MERGE, STRATEGIC, APPLY])
        if type_ is None:
            answer = await http.post(path, body, dryRun=dice.choice(["All", "All", "None"]))
        else:
            target = "things.example.org" if path == CRDS else TARGET
            options = {"fieldManager": "fuzz", "fieldValidation": dice.choice(["Strict", "Warn", "Ignore"])}
            if type_ == APPLY and isinstance(body, dict):
                body = {"apiVersion": kinds[path][0], "kind": kinds[path][1], **body}
            answer = await http.patch(f"{path}/{target}", body, type_, dryRun="All", **options)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        is_refused = answer.status < 500 or "failed to create typed patch object" in answer.message
        assert is_refused, f"{path} {type_} {body}\n{answer.text}"
    assert {201, 400, 422} <= statuses.keys()
