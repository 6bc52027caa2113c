import re
from pathlib import Path

from setuptools import find_packages, setup

(version,) = re.findall(r'^__version__ = "(.+)"$', Path("rsr_tf/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)

setup(
    name="rsr_tf",
    version=version,
    description="Robust and sparse image classifiers by Robust Sparse Regularization, for TensorFlow and Keras 3",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["rsr_tf", "rsr_tf.*"]),
    package_data={"rsr_tf.report": ["templates/*.html.jinja"]},
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "keras>=3.12,<3.16",
        "tensorboard>=2.20",
        "tensorflow-datasets>=4.9.9",
        "importlib_resources",  # tensorflow-datasets needs it to prepare a data set and does not ask for it
        "cleverhans==4.0.0",
        "numpy>=2.0",
        "scikit-learn>=1.5",
        "matplotlib>=3.9",
        "jinja2>=3.1",
        "pydantic>=2.9",
        "tomli-w>=1.0",
        "click>=8.1",
    ],
    extras_require={
        "cuda": ["tensorflow[and-cuda]>=2.20,<2.22"],
        "test": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.12"],
        "litert": ["ai-edge-litert>=2.0"],  # runs TFLite files; without it TensorFlow's own interpreter does
    },
    entry_points={"console_scripts": ["rsr = rsr_tf.cli:main"]},
)
