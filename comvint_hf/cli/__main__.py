"""`python -m comvint_hf.cli` is the command `comvint`."""

from comvint_hf.cli.commands import main

if __name__ == "__main__":
    main()
