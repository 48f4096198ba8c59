"""
C{txgear completion}: has a shell complete the words of the command.
"""

from __future__ import annotations

from typing import Final

import click

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(epilog="Example: txgear completion bash > ~/.local/share/bash-completion/completions/txgear")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """
    Print what has a SHELL complete commands, options, files, and names of functions, schedules and jobs,
    which it asks the server for, where that answers within a second.

    \b
    bash  in ~/.bashrc:                 eval "$(txgear completion bash)"
    zsh   in ~/.zshrc, after compinit:  eval "$(txgear completion zsh)"
    fish  txgear completion fish > ~/.config/fish/completions/txgear.fish
    """
    from txgear.cli.care.completing import script

    print(script(shell, context.find_root().command), end="")
