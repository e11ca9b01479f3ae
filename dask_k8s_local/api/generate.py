"""Write ``definitions.json``: Kubernetes' own types, as far as the kinds served here need them.

``python -m dask_k8s_local.api.generate`` takes them from the newest release in the package
kubernetes-validate (Apache-2.0), ``--check`` tells whether the file is up to date.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from dask_k8s_local.api.kinds.builtin import BUILTIN, definition_name

TARGET = Path(__file__).parent / "schema" / "definitions.json"
_REF = "#/$defs/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_DEFAULTS = {
    # Keys of lists: server-side apply needs their defaults, which the source has lost.
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}
_ALSO = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    f"{_META}Status",
    f"{_META}DeleteOptions",
    f"{_META}ListMeta",
)


def generated() -> str:
    """Return the file's text: one definition a line, so that a new release gives a readable difference."""
    schemas = files("kubernetes_validate").joinpath("kubernetes-json-schema")
    release = max(
        (tuple(int(part) for part in path.name[1:].removesuffix("-local").split(".")), path)
        for path in schemas.iterdir()
        if path.name.endswith("-local")
    )[1]
    source = json.loads(release.joinpath("_definitions.json").read_text(encoding="utf-8"))["$defs"]
    wanted = [definition_name(resource) for resource in BUILTIN]
    wanted += [f"{name}List" for name in wanted if f"{name}List" in source]
    wanted += _ALSO
    kept: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = _plain(source[name], wanted)
            for field, default in _DEFAULTS.get(name, {}).items():
                kept[name]["properties"][field]["default"] = default
    lines = [
        f"{json.dumps(name)}:{json.dumps(kept[name], separators=(',', ':'), sort_keys=True)}"
        for name in sorted(kept)
    ]
    version = release.name.removesuffix("-local")
    return '{"version":"' + version + '",\n' + ",\n".join(lines) + "\n}\n"


def _plain(node: Any, wanted: list[str]) -> Any:
    """Undo kubernetes-validate's ``["string", "null"]`` and rename the references."""
    if isinstance(node, list):
        return [_plain(item, wanted) for item in node]
    if not isinstance(node, dict):
        return node
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str):
            wanted.append(value.removeprefix(_REF))
            plain[key] = value.replace(_REF, "#/definitions/")
        elif key == "type" and isinstance(value, list):
            plain[key] = next(one for one in value if one != "null")
        else:
            plain[key] = _plain(value, wanted)
    return plain


def main() -> None:
    text = generated()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit(f"{TARGET.name} is out of date: run python -m dask_k8s_local.api.generate")
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
