"""The manifest of the documentation, as Kubernetes would read it."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flax_imdb.cli.flags import parse
from flax_imdb.cli.train import TrainOptions

MANIFEST = Path(__file__).parents[2] / "docs" / "clusters" / "jobset.yaml"

# Of JobSet's own fields, those that the manifest uses, as in its custom resource definition
# (kubernetes-sigs/jobset, config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml).
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
FAILURE_POLICY = {"maxRestarts": {"type": "integer"}}
NETWORK = {name: {"type": "boolean"} for name in ("enableDNSHostnames", "publishNotReadyAddresses")}
REPLICATED_JOB = {"name": NAME, "replicas": {"type": "integer"}, "template": {"type": "object"}}


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


JOB_SET = closed(
    {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": closed({"name": NAME}, "name"),
        "spec": closed(
            {
                "failurePolicy": closed(FAILURE_POLICY),
                "network": closed(NETWORK),
                "replicatedJobs": {
                    "type": "array",
                    "items": closed(REPLICATED_JOB, "name", "template"),
                },
            },
            "replicatedJobs",
        ),
    },
    *("apiVersion", "kind", "metadata", "spec"),
)


@pytest.fixture
def manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    return manifest


def test_it_is_a_job_set_of_valid_jobs(manifest: dict[str, Any]) -> None:
    import kubernetes_validate

    jsonschema.validate(manifest, JOB_SET)
    for replicated in manifest["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": replicated["name"]}}
        kubernetes_validate.validate(job | replicated["template"], "1.35", strict=True)


def test_its_processes_find_each_other(manifest: dict[str, Any]) -> None:
    """By the names that JobSet gives: JOBSET-REPLICATEDJOB-JOB-POD.SUBDOMAIN."""
    (replicated,) = manifest["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert (replicated["replicas"], job["completionMode"]) == (1, "Indexed")
    assert job["completions"] == job["parallelism"]
    name = manifest["metadata"]["name"]
    for number in range(job["completions"]):
        args = [arg.replace("$(JOB_COMPLETION_INDEX)", str(number)) for arg in container["args"]]
        processes = parse(TrainOptions, args, "train.py", default=TrainOptions()).processes
        host, _, port = str(processes.coordinator).partition(":")
        assert host == f"{name}-{replicated['name']}-0-0.{name}"
        assert [int(port)] == [exposed["containerPort"] for exposed in container["ports"]]
        assert processes.num_processes == job["completions"]
        assert processes.process_id == number
