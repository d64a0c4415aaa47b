"""What Dataflow needs to be told, refused before anything is reached or imported from Google."""

import sys

import pytest

from components.errors import UserError
from pipeline.engines.dataflow import DataflowEngine

WHOLE = {"project": "a-project", "region": "europe-west1", "temp_location": "gs://a-bucket/temp"}


@pytest.mark.parametrize(
    ("options", "flags", "message"),
    [
        ({}, [], "needs project and region and temp_location, .*docs/dataflow.md"),
        ({**WHOLE, "region": ""}, [], "needs region, which .* such as europe-west1"),
        ({}, ["--project=p", "--region=r"], "needs temp_location, which .* such as gs://my-bucket/temp"),
        (
            {**WHOLE, "temp_location": "/tmp"},
            [],
            "received temp_location '/tmp', expected a folder in a bucket",
        ),
        (
            {**WHOLE, "temp_location": "gs://bucket"},
            [],
            "received temp_location 'gs://bucket', expected a folder",
        ),
        ({**WHOLE, "staging_location": "s3://bucket/x"}, [], "received staging_location 's3://bucket/x'"),
        ({**WHOLE, "max_num_worker": 3}, [], "the option max_num_worker, .* did you mean max_num_workers?"),
        ({**WHOLE, "max_num_workers": "many"}, [], "max_num_workers: invalid int value: 'many'"),
        (
            WHOLE,
            ["--job_name=mine"],
            "received the option job_name, which cannot be set: the job's name follows",
        ),
        (WHOLE, ["--update"], "received the option update, which cannot be set: only streaming jobs"),
        (
            WHOLE,
            ["--template_location=gs://b/t"],
            "template_location, which cannot be set: a template is no run",
        ),
    ],
)
def test_options_that_are_missing_or_wrong(options, flags, message):
    with pytest.raises(UserError, match=message):
        DataflowEngine(options, flags)


def test_parts_for_google_cloud_that_are_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "pipeline.engines.dataflow_api", raising=False)
    monkeypatch.setitem(sys.modules, "google.cloud.dataflow", None)
    with pytest.raises(
        UserError, match=r"needs Beam's parts for Google Cloud, and .*pip install 'rnnpipe\[gcp,gcs\]'"
    ):
        DataflowEngine(WHOLE)
