"""Packaging. What travels to remote workers has its metadata: pipeline/engines/package.py."""

from setuptools import find_packages, setup

REQUIRES = [
    "tensorflow>=2.21,<2.22",
    "tensorflow-text>=2.21,<2.22",
    "tensorflow-serving-api>=2.21,<2.22",
    "keras>=3.12,<3.16",
    "apache-beam>=2.77,<2.78",
    "mlflow>=3.17,<4",
    "numpy>=2.0,<3",
    "scipy>=1.15,<2",
    "scikit-learn>=1.5,<2",
    "pydantic>=2.11,<3",
    "ruamel.yaml>=0.19,<0.20",
    "typer>=0.15,<1",
    "rich>=13.9,<16",
    "jinja2>=3.1,<4",
    "filelock>=3.16,<5",
    "psutil>=6,<8",
    "requests>=2.32,<3",
    "pyarrow>=18,<26",
    "fsspec>=2026.2",
    "universal-pathlib>=0.3.8,<0.4",
    "sentencepiece>=0.2,<0.3",
    "sacrebleu>=2.5,<3",
    "rapidfuzz>=3.10,<4",
    "matplotlib>=3.9,<4",
    "charset-normalizer>=3.4,<4",
    # The wheels of 0.8.5 put packages named docs, src and stubs beside it.
    "clevercsv>=0.8.3,<0.9,!=0.8.5",
]

EXTRAS = {
    "test": [
        "pytest>=8.3,<10",
        "pytest-xdist>=3.6,<4",
        "hypothesis>=6.120,<7",
        "jsonschema>=4.23,<5",
        "reservoirpy>=0.4,<0.5",
        "Babel>=2.16,<3",
        "s3fs>=2026.2",
        "gcsfs>=2026.2",
        "ruff>=0.14,<1",
        "mypy>=1.13,<3",
        "import-linter>=2.1,<3",
    ],
    "jax": ["jax>=0.4.34,<1"],
    # CUDA's libraries for TensorFlow, on Linux.
    "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
    # Object stores as root, data and serving directory.
    "gcs": ["gcsfs>=2026.2"],
    "s3": ["s3fs>=2026.2"],
    "gcp": ["apache-beam[gcp]>=2.77,<2.78"],
    "bench": [
        "reservoirpy>=0.4,<0.5",
        # Makes word vectors to start from.
        "gensim>=4.4,<5",
        # It needs Keras 3.15, which Python 3.10 does not have.
        "keras-hub>=0.32,<0.33; python_version >= '3.11'",
    ],
}

setup(
    name="rnnpipe",
    version="0.1.0",
    description="Recurrent text models from a table of text to a served SavedModel, in one Apache Beam job",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["layers*", "components*", "pipeline*"]),
    package_data={
        "*": ["py.typed"],
        "pipeline": ["schema.json"],
        "pipeline.report": ["templates/*.html", "templates/card/*.html"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["rnnpipe = pipeline.cli:main"]},
)
