"""The packages of the wheel: the floors lie at the top of the repository and are imported as `polyneuron.<floor>`."""

from setuptools import find_packages, setup

FLOORS = ("neuron_core", "cluster", "eval", "pipelines")

setup(
    packages=[
        "polyneuron",
        *(
            f"polyneuron.{package}"
            for floor in FLOORS
            for package in find_packages(include=[floor, f"{floor}.*"])
        ),
    ],
    package_dir={f"polyneuron.{floor}": floor for floor in FLOORS},
)
