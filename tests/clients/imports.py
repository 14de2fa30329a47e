"""Imports every module of the Python client that is generated from the document of the API."""

import importlib
import pkgutil
import sys

import hansard_client

modules = [found.name for found in pkgutil.walk_packages(hansard_client.__path__, "hansard_client.")]
for module in modules:
    importlib.import_module(module)
operations = [module for module in modules if module.startswith("hansard_client.api.") and module.count(".") == 3]
if len(operations) < 200:
    sys.exit(f"a client of {len(operations)} operations: the document has more")
print(f"a Python client of {len(operations)} operations")
