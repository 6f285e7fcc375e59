"""The needs of jobs as a rule's `resources` takes them: one function of wildcards per resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from melanoma.cluster import needs
from melanoma.cluster.needs import Resources
from melanoma.cluster.site import Site
from melanoma.config import Experiment, GradCam, Images

RuleResources = dict[str, Callable[..., int | str | None]]
"""Resource name to a function of (wildcards, attempt)."""

Experiments = Mapping[str, Experiment]


def inspect_resources() -> RuleResources:
    """Resources of rule inspect; its wildcards have `shards`."""
    return _each(
        lambda wildcards, attempt: needs.inspect(int(wildcards.shards), attempt=attempt),
        needs.inspect(1),
    )


def shard_resources(experiments: Experiments) -> RuleResources:
    """Resources of rules remove_hair and resize.

    The same for every recipe, the largest of each: all tasks of an array job get what the first
    one asks for, and the shards of several recipes may share an array.
    """

    def largest(_wildcards: Any, attempt: int) -> Resources:
        every = [needs.shard(each.images, attempt=attempt) for each in experiments.values()]
        # No resource of a shard is text, so that they can be compared.
        return {name: max(int(each[name] or 0) for each in every) for name in every[0]}

    return _each(largest, largest(None, 1))


def pack_resources(experiments: Experiments) -> RuleResources:
    """Resources of rule pack; its wildcards have `size`."""
    largest = max((each.images for each in experiments.values()), key=lambda images: images.size)
    return _each(
        lambda wildcards, attempt: needs.pack(Images(size=int(wildcards.size)), attempt=attempt),
        needs.pack(largest),
    )


def table_resources() -> RuleResources:
    """Resources of every rule that works on tables and figures."""
    return _each(lambda _wildcards, attempt: needs.table(attempt=attempt), needs.table())


def train_resources(experiments: Experiments, site: Site) -> RuleResources:
    """Resources of rule train; its wildcards have `experiment`."""
    return _each(
        lambda wildcards, attempt: needs.train(
            experiments[wildcards.experiment], attempt=attempt, site=site
        ),
        needs.train(next(iter(experiments.values()))),
    )


def predict_resources(experiments: Experiments, site: Site, *, tta: bool) -> RuleResources:
    """Resources of rule predict; its wildcards have `experiment`."""
    return _each(
        lambda wildcards, attempt: needs.predict(
            experiments[wildcards.experiment], tta=tta, attempt=attempt, site=site
        ),
        needs.predict(next(iter(experiments.values()))),
    )


def gradcam_resources(experiment: Experiment, gradcam: GradCam, site: Site) -> RuleResources:
    """Resources of rule gradcam, which is for the main experiment alone."""
    return _each(
        lambda _wildcards, attempt: needs.gradcam(experiment, gradcam, attempt=attempt, site=site),
        needs.gradcam(experiment, gradcam),
    )


def _each(resources: Callable[[Any, int], Resources], names: Resources) -> RuleResources:
    """Split a function that gives all resources into one for each of `names`."""

    def one(name: str) -> Callable[..., int | str | None]:
        # Snakemake hands over `attempt` by its name.
        return lambda wildcards, attempt: resources(wildcards, attempt)[name]

    return {name: one(name) for name in names}
