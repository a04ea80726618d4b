"""`python -m metatoolagent`: what the workflow's jobs run, with the code of this checkout."""

from metatoolagent.cli import main

if __name__ == "__main__":
    main()
