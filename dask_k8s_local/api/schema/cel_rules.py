"""CEL rules of CRDs: ``x-kubernetes-validations``.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.schema.cel_functions import functions
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.interfaces import Object

_REASONS = {
    "FieldValueForbidden": lambda path, detail: errors.forbidden_field(path, detail),
    "FieldValueRequired": lambda path, detail: errors.required(path, detail),
}
_SUPPORTED_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]")
_REFERENCE = re.compile(r"(?<![\w.])(self|oldSelf)((?:\.[A-Za-z_]\w*)*)(\s*\()?")
_UNSUPPORTED_FORMATS = ("date-time", "datetime", "date", "duration")
_KEYWORDS = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)


@cache
def _environment() -> Any:
    extensions = [
        ext_strings.ExtStrings(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
    ]
    variables = {"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}
    return cel.NewEnv(variables=variables, extensions=extensions, functions=functions())


class RuleError(ValueError):
    """A rule that can't be compiled."""


@dataclass
class Rule:
    """One compiled rule and what it says when it doesn't hold."""

    source: str
    message: str
    field_path: str
    reason: str
    program: Any
    message_program: Any
    uses_old: bool
    reads: list[tuple[str, ...]]
    """The parts of self that it looks at; an empty tuple is all of it."""

    @property
    def told(self) -> str:
        return self.message or self.source


@dataclass
class Rules:
    """The rules at a place in a schema and below it."""

    type: str
    schema: Schema
    own: list[Rule] = field(default_factory=list)
    properties: dict[str, Rules] = field(default_factory=dict)
    additional: Rules | None = None
    items: Rules | None = None


def compile_rules(schema: Schema, path: str, problems: list[Cause], *, is_root: bool = True) -> Rules | None:
    """Compile the rules of a schema and below; None if there are none. What can't be compiled is told."""
    rules = Rules(schema.type, schema)
    for index, source in enumerate(schema.rules):
        told = list(_malformed(source, schema, f"{path}.x-kubernetes-validations[{index}]"))
        problems.extend(told)
        if told:
            continue
        try:
            rules.own.append(_compiled(source, schema, is_root=is_root or schema.embedded))
        except RuleError as error:
            place = f"{path}.x-kubernetes-validations[{index}].rule"
            problems.append(errors.invalid_value(place, source.get("rule"), f"compilation failed: {error}"))
    for name, child in schema.properties.items():
        if not (is_root and name in ("metadata", "apiVersion", "kind")):
            below = compile_rules(child, f"{path}.properties[{name}]", problems, is_root=False)
            if below is not None:
                rules.properties[name] = below
    if isinstance(schema.additional, Schema):
        rules.additional = compile_rules(
            schema.additional, f"{path}.additionalProperties", problems, is_root=False
        )
    if schema.items is not None:
        rules.items = compile_rules(schema.items, f"{path}.items", problems, is_root=False)
    is_empty = not (rules.own or rules.properties or rules.additional or rules.items)
    return None if is_empty else rules


def _malformed(source: Object, schema: Schema, place: str) -> Iterator[Cause]:
    rule, reason, field_path = (source.get(key) or "" for key in ("rule", "reason", "fieldPath"))
    if not rule.strip():
        yield errors.required(f"{place}.rule", "rule is not specified")
    elif "\n" in rule.strip() and not (source.get("message") or "").strip():
        yield errors.required(f"{place}.message", "message must be specified if rule contains line breaks")
    if reason and reason not in _SUPPORTED_REASONS:
        yield errors.not_supported(f"{place}.reason", reason, _SUPPORTED_REASONS)
    if field_path and not _leads_somewhere(field_path, schema):
        yield errors.invalid_value(f"{place}.fieldPath", field_path, "must be a valid path")


def _leads_somewhere(field_path: str, schema: Schema) -> bool:
    """Whether a path names fields that a schema declares; keys of maps need no declaration."""
    if not field_path.startswith((".", "[")):
        return False
    node: Schema | None = schema
    for dotted, quoted in _STEP.findall(field_path):
        node = node.child(dotted or quoted) if node is not None else None
    return node is not None and not _STEP.sub("", field_path)


def _compiled(source: Object, schema: Schema, *, is_root: bool) -> Rule:
    text = source.get("rule") or ""
    if source.get("optionalOldSelf"):
        raise RuleError("optionalOldSelf is not offered by the local Kubernetes")
    reads = list(_reads(text))
    for name, path, steps in reads:
        _check_path(name, path, schema, is_root=is_root, steps=steps)
    expression = source.get("messageExpression")
    return Rule(
        source=text.strip(),
        message=(source.get("message") or "").strip(),
        field_path=source.get("fieldPath") or "",
        reason=source.get("reason") or "",
        program=_program(text, boolean=True),
        message_program=_program(expression, boolean=False) if expression else None,
        uses_old=any(name == "oldSelf" for name, *_ in reads),
        reads=[steps for _, _, steps in [*reads, *_reads(expression or "")]],
    )


def _program(text: str, *, boolean: bool) -> Any:
    try:
        program = _environment().compile(text)
    except RuntimeError as error:
        raise RuleError(str(error).removeprefix("INVALID_ARGUMENT: ")) from None
    result = program.return_type().name()
    if boolean and result not in ("BOOL", "DYN"):
        raise RuleError("cel expression must evaluate to a bool")
    if not boolean and result not in ("STRING", "DYN"):
        raise RuleError("messageExpression must evaluate to a string")
    return program


def _reads(text: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield what an expression reads of self and oldSelf: the variable, the text, the steps."""
    for match in _REFERENCE.finditer(text):
        steps = tuple(filter(None, match[2].split(".")))
        yield match[1], match[0], steps[:-1] if match[3] else steps


def _check_path(name: str, text: str, schema: Schema, *, is_root: bool, steps: tuple[str, ...]) -> None:
    """Refuse what the schema doesn't declare, as Kubernetes' type checker does."""
    node: Schema | None = schema
    for at, step in enumerate(steps):
        if node is None or (node.is_open and not node.properties) or node.int_or_string:
            return
        if is_root and at == 0 and step in ("apiVersion", "kind"):
            return
        if is_root and at == 0 and step == "metadata":
            if len(steps) > 1 and steps[1] not in ("name", "generateName"):
                raise RuleError(f"undefined field '{steps[1]}'")
            return
        if node.properties:
            child = next((one for key, one in node.properties.items() if escaped(key) == step), None)
            if child is None:
                raise RuleError(f"undefined field '{step}'")
            node = child
        elif isinstance(node.additional, Schema):
            node = node.additional
        else:
            raise RuleError(f"type '{node.type}' does not support field selection: {text.strip()}")
    if node is not None and node.format in _UNSUPPORTED_FORMATS:
        raise RuleError(
            f"the local Kubernetes can't read the format {node.format} of {text.strip()} in a rule"
        )


def escaped(name: str) -> str:
    """Return a property's name as CEL sees it."""
    if name in _KEYWORDS:
        return f"__{name}__"
    text = name.replace("__", "__underscores__")
    for letter, word in ((".", "dot"), ("-", "dash"), ("/", "slash")):
        text = text.replace(letter, f"__{word}__")
    return text


def violations(
    rules: Rules, value: Any, old: Any, path: str = "", *, is_root: bool = True
) -> Iterator[Cause]:
    """Yield the rules that a value breaks; ``old`` is None where there is nothing to compare with."""
    if value is None:
        return
    is_unchanged = old is not None and value == old
    for rule in rules.own:
        # A rule about the value alone can't be broken by a write that leaves the value as it was.
        if (old is not None) if rule.uses_old else not is_unchanged:
            yield from _broken(rule, rules, value, old, path, is_root=is_root)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = rules.properties.get(key)
            if below is None and key not in rules.schema.properties:
                below = rules.additional
            if below is not None:
                child = f"{path}.{key}" if path else key
                yield from violations(below, item, before.get(key), child, is_root=False)
    elif isinstance(value, list) and rules.items is not None:
        before_items = _items_by_key(rules.schema, old)
        for index, item in enumerate(value):
            before_item = before_items.get(_identity(rules.schema, item)) if before_items else None
            yield from violations(rules.items, item, before_item, f"{path}[{index}]", is_root=False)


def _items_by_key(schema: Schema, items: Any) -> dict[Any, Any]:
    if schema.list_type != "map" or not isinstance(items, list):
        return {}
    return {_identity(schema, item): item for item in items}


def _identity(schema: Schema, item: Any) -> Any:
    if schema.list_type != "map" or not isinstance(item, dict):
        return None
    return tuple(str(item.get(key)) for key in schema.list_keys)


def _broken(rule: Rule, rules: Rules, value: Any, old: Any, path: str, *, is_root: bool) -> Iterator[Cause]:
    place = f"{path}{rule.field_path}" if path else rule.field_path.removeprefix(".")
    data = {"self": _seen(rules.schema, value, rule.reads, is_root=is_root)}
    if rule.uses_old:
        data["oldSelf"] = _seen(rules.schema, old, rule.reads, is_root=is_root)
    result = rule.program.eval(data=data)
    if result.type() == cel.Type.ERROR:
        detail = f"{_error_text(result.value())} evaluating rule: {rule.told}"
        yield Cause("FieldValueInvalid", path or "<nil>", f'Invalid value: "{rules.type}": {detail}')
        return
    if result.value() is True:
        return
    detail = rule.message or f"failed rule: {rule.source}"
    if rule.message_program is not None:
        message = rule.message_program.eval(data=data)
        if message.type() == cel.Type.STRING and message.value().strip():
            detail = message.value().strip()
    refuse = _REASONS.get(rule.reason)
    if refuse is not None:
        yield refuse(place or "<nil>", detail)
    else:
        shown = "" if isinstance(value, (dict, list)) else f"{errors.show(value)}: "
        yield Cause(rule.reason or "FieldValueInvalid", place or "<nil>", f"Invalid value: {shown}{detail}")


def _error_text(text: Any) -> str:
    """Word an error of evaluation as Kubernetes does."""
    missing = re.search(r'Key not found in map : "(.*)"', str(text))
    return f"no such key: {missing[1]}" if missing else str(text).partition(": ")[2] or str(text)


def _seen(schema: Schema, value: Any, reads: list[tuple[str, ...]], *, is_root: bool) -> Any:
    """Return the part of a value that a rule reads: the rest isn't worth converting."""
    if not isinstance(value, dict):
        return _named(schema, value)
    if () in reads:
        seen = dict(value)
    else:
        firsts = {steps[0] for steps in reads}
        seen = {key: item for key, item in value.items() if escaped(key) in firsts}
    if is_root and "metadata" in seen:
        own = seen["metadata"]
        seen["metadata"] = {key: own[key] for key in ("name", "generateName") if key in own}
    result = {}
    for key, item in seen.items():
        child = schema.child(key)
        name = escaped(key) if key in schema.properties else key
        rest = [steps[1:] for steps in reads if steps and steps[0] == name]
        if child is not None and isinstance(item, dict) and () not in reads and rest:
            result[name] = _seen(child, item, rest, is_root=False)
        else:
            result[name] = _named(child, item)
    return result


def _named(schema: Schema | None, value: Any) -> Any:
    """Rename the properties of a value as CEL sees them."""
    if schema is None:
        return value
    if isinstance(value, dict):
        return {
            (escaped(key) if key in schema.properties else key): _named(schema.child(key), item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_named(schema.items, item) for item in value]
    return value
