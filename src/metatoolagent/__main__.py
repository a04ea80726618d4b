"""`mta`, and `python -m metatoolagent`: what the workflow's jobs run, with the code of this checkout."""

import sys


def main() -> None:
    """Run the command line; who interrupts it while it still loads is told no more than later, when typer takes it."""
    try:
        from metatoolagent.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
