"""What Beam's unmodified runner sends to Dataflow: the graph, the package, and the options."""

import tarfile
from io import BytesIO

import pytest

pytest.importorskip(
    "google.cloud.dataflow",
    reason="Beam's parts for Google Cloud are not installed, which make test-cluster does",
)

import tiny
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.portability.common_urns import environments
from dataflow_fixtures import config_fixture, dataflow_fixture, private_key  # noqa: F401
from google.cloud.dataflow import AutoscalingAlgorithm, WorkerIPAddressConfiguration
from google.cloud.dataflow_v1beta3 import JobType

from components import files

pytestmark = pytest.mark.cluster

IMAGE = "europe-docker.pkg.dev/a-project/images/rnnpipe:1"
FLAGS = [
    "--worker_machine_type=n2-highmem-4",
    "--num_workers=2",
    "--max_num_workers=8",
    "--autoscaling_algorithm=THROUGHPUT_BASED",
    "--disk_size_gb=50",
    "--subnetwork=regions/europe-west1/subnetworks/inside",
    "--no_use_public_ips",
    "--service_account_email=worker@a-project.iam.gserviceaccount.com",
    f"--sdk_container_image={IMAGE}",
    "--label=team=text",
    "--dataflow_service_options=enable_prime",
    "--resource_hint=min_ram=8GB",
]


def sent(dataflow):
    """The one job that was submitted, and its pipeline as it was staged."""
    (job,) = dataflow.jobs
    options = dict(job.sent.environment.sdk_pipeline_options["options"])
    return job.sent, api.Pipeline.FromString(files.read(files.resolve(options["pipelineUrl"]))), options


def test_what_a_submission_holds(dataflow, config, gcs):
    code, printed = tiny.run(config, detach=True, flags=FLAGS)
    assert code == 0, printed
    job, pipeline, options = sent(dataflow)

    transforms = pipeline.components.transforms
    composites = [
        transforms[id] for root in pipeline.root_transform_ids for id in _below(transforms, root, 1)
    ]
    names = [composite.unique_name for composite in composites]
    assert names == ["preflight", "ingest", "tokenize", "train", "evaluate", "export"]
    assert all(composite.subtransforms for composite in composites)

    assert job.type_ == JobType.JOB_TYPE_BATCH
    assert job.name.startswith("rnnpipe-letters-")
    assert dict(job.labels) == {"rnnpipe": "letters", "team": "text"}
    environment = job.environment
    (pool,) = environment.worker_pools
    assert pool.machine_type == "n2-highmem-4"
    assert (pool.num_workers, pool.autoscaling_settings.max_num_workers) == (2, 8)
    assert pool.autoscaling_settings.algorithm == AutoscalingAlgorithm.AUTOSCALING_ALGORITHM_BASIC
    assert pool.disk_size_gb == 50
    assert pool.subnetwork == "regions/europe-west1/subnetworks/inside"
    assert pool.ip_configuration == WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert {image.container_image for image in pool.sdk_harness_container_images} == {IMAGE}
    assert environment.service_account_email == "worker@a-project.iam.gserviceaccount.com"
    assert "enable_prime" in environment.service_options
    experiments = list(environment.experiments)
    assert "no_use_multiple_sdk_containers" in experiments
    assert "use_multiple_sdk_containers" not in experiments
    assert environment.temp_storage_prefix.startswith("storage.googleapis.com/" + gcs.removeprefix("gs://"))

    assert options["region"] == "europe-west1"
    assert "pipeline.engines.worker" in options["beam_plugins"]
    assert options["default_sdk_harness_log_level"] == "CRITICAL"
    assert not options["save_main_session"]


def test_the_package_is_staged_for_every_environment(dataflow, config):
    assert tiny.run(config, detach=True, flags=FLAGS)[0] == 0
    _, pipeline, _ = sent(dataflow)
    assert pipeline.components.environments
    for environment in pipeline.components.environments.values():
        staged = {
            api.ArtifactStagingToRolePayload.FromString(dependency.role_payload).staged_name: (
                api.ArtifactUrlPayload.FromString(dependency.type_payload).url
            )
            for dependency in environment.dependencies
        }
        (package,) = [name for name in staged if name.startswith("rnnpipe-")]
        assert "extra_packages.txt" in staged
        with tarfile.open(fileobj=BytesIO(files.read(files.resolve(staged[package])))) as archive:
            members = archive.getnames()
        assert any(name.endswith("src/pipeline/engines/worker.py") for name in members)
        hints = {urn: bytes(hint) for urn, hint in environment.resource_hints.items()}
        assert hints["beam:resources:min_ram_bytes:v1"] == b"8000000000"
        payload = api.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE
        assert environment.urn == environments.DOCKER.urn


def test_the_training_alone_asks_for_an_accelerator(dataflow, config):
    accelerator = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
    hints = f"train.resources={{accelerator: '{accelerator}', min_ram: 16GB}}"
    code, printed = tiny.run(config, hints, detach=True)
    assert code == 0, printed
    _, pipeline, _ = sent(dataflow)
    components = pipeline.components
    asking = {
        id
        for id, environment in components.environments.items()
        if environment.resource_hints.get("beam:resources:accelerator:v1") == accelerator.encode()
        and environment.resource_hints["beam:resources:min_ram_bytes:v1"] == b"16000000000"
    }
    assert asking
    asked_by = {
        transform.unique_name.partition("/")[0]
        for transform in components.transforms.values()
        if transform.environment_id in asking
    }
    assert asked_by == {"train"}


def test_the_rungs_of_a_sweep_are_steps_with_the_fits_resources(dataflow, config):
    sweep = "sweep={over: {model.encoder.units: [4, 8]}, halving: {reduction_factor: 2, min_epochs: 1}}"
    hints = "train.resources={min_ram: 16GB}"
    code, printed = tiny.run(config, sweep, hints, "train.epochs=4", detach=True)
    assert code == 0, printed
    _, pipeline, _ = sent(dataflow)
    components = pipeline.components
    transforms = components.transforms
    names = [
        transforms[id].unique_name
        for root in pipeline.root_transform_ids
        for id in _below(transforms, root, 1)
    ]
    assert names == [
        *["preflight", "ingest", "tokenize", "train to epoch 1", "after rung 1", "compare 1"],
        *["train to epoch 2", "after rung 2", "compare 2", "train", "after rung 3", "compare 3"],
        *["evaluate", "export"],
    ]
    ram = {
        id: environment.resource_hints.get("beam:resources:min_ram_bytes:v1")
        for id, environment in components.environments.items()
    }
    asking = {
        each.unique_name for each in transforms.values() if ram.get(each.environment_id) == b"16000000000"
    }
    assert asking == {f"{step}/work/fit" for step in ("train to epoch 1", "train to epoch 2", "train")}


def test_several_processes_on_a_worker_if_they_are_asked_for(dataflow, config):
    flags = ["--experiments=use_multiple_sdk_containers"]
    assert tiny.run(config, detach=True, until="ingest", flags=flags)[0] == 0
    job, _, _ = sent(dataflow)
    experiments = list(job.environment.experiments)
    assert "use_multiple_sdk_containers" in experiments
    assert "no_use_multiple_sdk_containers" not in experiments


def test_the_same_plan_under_another_root_is_another_job(dataflow, config):
    for root in ("runs", "others"):
        bucket = config.read_text().split("root: ")[1].partition("/runs")[0]
        code, printed = tiny.run(config, f"root={bucket}/{root}", detach=True, until="ingest")
        assert code == 0, printed
    assert len({job.sent.name for job in dataflow.jobs}) == 2


def _below(transforms, id, depth):
    """The transforms that are so far below one."""
    if depth == 0:
        return [id]
    return [found for inner in transforms[id].subtransforms for found in _below(transforms, inner, depth - 1)]
