from setuptools import find_packages, setup

# Configs and models lie beside the package in a clone, and inside it in a wheel.
setup(
    packages=[
        *find_packages(include=["efficientps_d2", "efficientps_d2.*"]),
        "efficientps_d2.configs",
        "efficientps_d2.models.nuclei",
        "efficientps_d2_cli",
    ]
)
