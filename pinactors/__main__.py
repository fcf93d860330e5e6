"""`python -m pinactors` is the command `pinactors`."""

from pinactors.cli import main

if __name__ == "__main__":
    main()
