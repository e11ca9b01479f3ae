"""``kubectl dask``, and what completes its words in a shell."""

from __future__ import annotations

import sys

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_KUBECTL_DASK_COMPLETE"
NO_FILES = ":4"
"""What kubectl is to do besides: not to offer files. https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective"""


def plugin() -> None:
    """Run ``kubectl dask …``: kubectl calls ``kubectl-dask`` on the PATH, which the wheel installs.

    https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
    """
    from dask_k8s_client.cli.main import kubernetes

    kubernetes.main(prog_name="kubectl dask", complete_var=VARIABLE)


def complete_for_kubectl() -> None:
    """Print what may follow the words typed so far: kubectl asks ``kubectl_complete-dask`` for it."""
    from click.shell_completion import ShellComplete

    from dask_k8s_client.cli.main import kubernetes

    *words, incomplete = sys.argv[1:] or [""]
    completion = ShellComplete(kubernetes, {}, "kubectl dask", VARIABLE)
    for item in completion.get_completions(words, incomplete):
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(NO_FILES)


@click.command(short_help="Complete the commands in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes `dask kubernetes …` and `kubectl-dask …` in a SHELL.

    \b
    For bash, in ~/.bashrc:  eval "$(dask kubernetes completion bash)"
    For zsh, in ~/.zshrc:    eval "$(dask kubernetes completion zsh)"
    For fish:                dask kubernetes completion fish | source
    """
    from click.shell_completion import get_completion_class

    from dask_k8s_client.cli.main import kubernetes

    script = get_completion_class(shell)
    if script is None:
        raise click.ClickException(f"there is no completion for {shell}")
    for program, variable in (("kubectl-dask", VARIABLE), ("dask", "_DASK_COMPLETE")):
        click.echo(script(kubernetes, {}, program, variable).source())
