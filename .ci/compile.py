"""
Load every module of the program once, so that all it consists of is compiled.

The program may run as a user who may not write here, and would compile all of it at every start.
"""

from __future__ import annotations

import importlib
import pkgutil

import mmbot

for module in pkgutil.walk_packages(mmbot.__path__, "mmbot."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
