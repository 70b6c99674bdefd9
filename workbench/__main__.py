"""``python -m workbench`` is ``workbench``."""

import sys


def main() -> None:
    """Run the command line; where its packages are not installed, say in one line what to install.

    A bot's installation has none of them.
    """
    try:
        from workbench.cli import main as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("workbench", "pipecat_bandwidth"):
            raise  # a fault of ours
        print(
            f"workbench: {error.msg}: it needs the extra: pip install 'pipecat-bandwidth[workbench]'",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
