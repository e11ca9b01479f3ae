"""What Argo CD and Flux make of an object, by the checks that are shipped."""

from __future__ import annotations

from pathlib import Path

import lupa.lua51
import yaml
from cel_expr_python import cel

from tests.harness.kube import Object

EXAMPLES = Path(__file__).parents[2] / "examples" / "gitops"
HEALTH = EXAMPLES / "argocd" / "health"
CLUSTERS = EXAMPLES / "flux" / "clusters.yaml"

VERDICTS = ("inProgress", "failed", "current")


def argo(item: Object) -> tuple[str, str]:
    """Return the health and its message, as Argo CD's Lua finds them."""
    script = "application.lua" if item["kind"] == "Application" else "dask.lua"
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(item, recursive=True)
    found = lua.execute((HEALTH / script).read_text())
    return found["status"], found["message"]


def flux(item: Object) -> str:
    """Return Flux's verdict: the first expression that holds, else it waits on."""
    checks = yaml.safe_load(CLUSTERS.read_text())["spec"]["healthCheckExprs"]
    (check,) = (one for one in checks if one["kind"] == item["kind"])
    variables = dict.fromkeys(("metadata", "spec", "status"), cel.Type.DYN)
    environment = cel.NewEnv(variables=variables)
    data = {name: item.get(name, {}) for name in variables}
    for verdict in VERDICTS:
        value = environment.compile(check[verdict]).eval(data=data)
        if value.value() is True:
            return verdict
    return "inProgress"
