"""Let ``python -m jobstore`` be the command ``jobstore``."""

from jobstore.cli import main

if __name__ == "__main__":
    main()
