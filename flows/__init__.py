"""The pipeline as Prefect flows: what DVC finds out of date, independent stages side by side.

Prefect reads its settings when it is imported, so they stand here: everything stays in the project's folder, nothing is reported to
anyone, and the terminal shows the stages' own lines (Prefect's log goes to its server, where the runs are looked at).
"""

import os
from pathlib import Path

os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".prefect"))
os.environ.setdefault("DO_NOT_TRACK", "true")  # the one spelling that all libraries accept
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
