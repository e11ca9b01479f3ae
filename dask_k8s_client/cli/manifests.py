"""``dask kubernetes validate|crds``: check manifests, and print the custom resource definitions."""

from __future__ import annotations

from typing import TextIO

import click


@click.command(short_help="Check manifests, without a Kubernetes.")
@click.argument("files", nargs=-1, required=True, type=click.File("r", encoding="utf-8"))
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.pass_context
def validate(context: click.Context, files: tuple[TextIO, ...], quiet: bool) -> None:
    """Check manifests in FILES (- is standard input) without a Kubernetes.

    Every problem is printed with its file, line, document and field. Exit code 1 if there are errors.
    Documents of other kinds are skipped.
    """
    from dask_k8s_models.validate import Severity, validate_documents

    colors = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.SKIPPED: "bright_black"}
    errors = 0
    for file in files:
        for problem in validate_documents(file.read(), file.name):
            errors += problem.severity is Severity.ERROR
            if problem.severity is Severity.ERROR or not quiet:
                click.secho(str(problem), fg=colors[problem.severity])
    if errors:
        context.exit(1)
    if not quiet:
        click.secho(f"{len(files)} {'file' if len(files) == 1 else 'files'} valid", fg="green", err=True)


@click.command(short_help="Print the custom resource definitions.")
def crds() -> None:
    """Print the custom resource definitions, for `kubectl apply --server-side -f -`."""
    from dask_k8s_models import custom_resource_definitions
    from dask_k8s_models.yaml_dialect import to_yaml

    click.echo(to_yaml(*custom_resource_definitions()), nl=False)
