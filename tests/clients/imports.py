"""Imports every module of the Python client that is generated from the document of the API: imports.py DOCUMENT"""

import importlib
import json
import pkgutil
import sys

import hansard_client

with open(sys.argv[1]) as file:
    documented = sum(len(methods) for methods in json.load(file)["paths"].values())
modules = [found.name for found in pkgutil.walk_packages(hansard_client.__path__, "hansard_client.")]
for module in modules:
    importlib.import_module(module)
operations = [module for module in modules if module.startswith("hansard_client.api.") and module.count(".") == 3]
if len(operations) != documented:
    sys.exit(f"the client has {len(operations)} operations, the document has {documented}")
print(f"a Python client of {len(operations)} operations")
