"""The packages of the wheel: the floors lie at the top of the repository and are imported as `polyneuron.<floor>`."""

import sys

from setuptools import find_packages, setup

FLOORS = ("neuron_core", "cluster", "eval", "pipelines")

if "editable_wheel" in sys.argv:
    # `polyneuron/__init__.py` finds the floors beside it. A plain layout is installed as a path, and not as a
    # finder, which Python asks after its path: from the folder that a checkout called polyneuron lies in,
    # `import polyneuron` would then find the checkout itself, without our names.
    layout = {"packages": ["polyneuron"], "package_dir": {"": "."}}
else:
    floors = [package for floor in FLOORS for package in find_packages(include=[floor, f"{floor}.*"])]
    layout = {
        "packages": ["polyneuron", *(f"polyneuron.{package}" for package in floors)],
        "package_dir": {f"polyneuron.{floor}": floor for floor in FLOORS},
    }

setup(**layout)
