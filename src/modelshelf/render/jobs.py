"""Jobs that run our code: their retries, their final failures, and their names. Pure.

The template of a Job cannot be changed. So its name hashes its whole spec, the names of the
ConfigMaps with our code included: a change is a new Job.
"""

from collections.abc import Iterable

from modelshelf.config.file import Config
from modelshelf.render.names import Object, fitted, short_hash

# Another try would fail in the same way: a bad spec, no right to the model, no such model, no
# space, no right to write, content that does not match its checksum. All other failures are
# retried.
FINAL_EXIT_CODES = (2, 10, 11, 12, 13, 14)


def job(config: Config, own: dict[str, str], pod: Object, seconds: int, retries: int) -> Object:
    """A Job without a name; `with_name` adds one.

    Args:
        config: The file.
        own: The Job's labels.
        pod: The spec of its pod, which has one container, with our code.
        seconds: How long it may take with all of its tries.
        retries: How often a failed pod is replaced.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": config.namespace, "labels": own},
        "spec": {
            "backoffLimit": retries,
            "activeDeadlineSeconds": seconds,
            # The only value that is allowed beside a failure policy. It also keeps a second writer
            # away until the first one has ended.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    # A pod that a drained node loses has not failed.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": pod["containers"][0]["name"],
                            "operator": "In",
                            "values": list(FINAL_EXIT_CODES),
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": dict(own)}, "spec": pod},
        },
    }


def with_name(nameless: Object, prefix: str, annotations: dict[str, str]) -> Object:
    """A Job with a name that changes with anything in its spec."""
    metadata = {"name": fitted(prefix, short_hash(nameless["spec"])), **nameless["metadata"]}
    return nameless | {"metadata": metadata | ({"annotations": annotations} if annotations else {})}


def job_of(objects: Iterable[Object]) -> Object:
    """The Job among some objects."""
    return next(obj for obj in objects if obj["kind"] == "Job")
