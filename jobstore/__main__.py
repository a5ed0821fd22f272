"""Make ``python -m jobstore`` the same as the command ``jobstore``."""

from jobstore.cli import main

if __name__ == "__main__":
    main()
