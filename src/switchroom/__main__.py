"""`python -m switchroom` is the `switchroom` command."""

from .cli import main

if __name__ == "__main__":
    main()
