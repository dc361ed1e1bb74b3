"""`python -m comvint_hf.cli` is the command `comvint`."""

from comvint_hf.cli.interrupts import guard_imports


def main() -> None:
    """Run the command `comvint`; Ctrl-C ends in a sentence from the first moment on."""
    guard_imports()
    from comvint_hf.cli.commands import main as command

    command()


if __name__ == "__main__":
    main()
