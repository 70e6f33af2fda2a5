"""Write docs/log.md and docs/log.schema.json anew from the table of events."""

from __future__ import annotations

import json
from pathlib import Path

from mmbot.runtime.logschema import page, schema

DOCS = Path(__file__).resolve().parent.parent / "docs"

if __name__ == "__main__":
    (DOCS / "log.md").write_text(page(), "utf-8")
    (DOCS / "log.schema.json").write_text(json.dumps(schema(), indent=1) + "\n", "utf-8")
