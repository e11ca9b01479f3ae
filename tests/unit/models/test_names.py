"""Names of children, valid names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_k8s_models import names


def test_children_are_called_after_their_owner() -> None:
    assert names.scheduler("simple") == "simple-scheduler"
    assert names.scheduler("simple", "1a2b") == "simple-scheduler-1a2b"
    assert names.default_group("simple") == "simple-default"
    assert names.worker_group("simple", "highmem") == "simple-highmem"
    assert re.fullmatch("simple-default-worker-[0-9a-f]{10}", names.worker("simple-default"))
    assert names.runner("job") == "job-runner"
    assert names.runner("job", 2) == "job-runner-2"
    assert names.job_cluster("job") == "job"
    assert names.autoscaler("simple") == "simple"
    assert names.autoscaler("simple", "highmem") == "simple-highmem"


def test_no_two_workers_share_a_name() -> None:
    assert len({names.worker("simple-default") for _ in range(1000)}) == 1000


def test_addresses_need_no_cluster_domain() -> None:
    assert names.scheduler_address("simple", "science") == "tcp://simple-scheduler.science.svc:8786"
    assert (
        names.scheduler_address("simple", "science", 443, "tls") == "tls://simple-scheduler.science.svc:443"
    )
    assert names.dashboard_address("simple", "science") == "http://simple-scheduler.science.svc:8787"


@pytest.mark.parametrize("name", ["a", "a-b", "a1", "a" * 53])
def test_a_cluster_may_be_called(name: str) -> None:
    assert names.problem_with_cluster_name(name) is None


@pytest.mark.parametrize("name", ["", "a" * 54, "a.b", "A", "-a", "a-", "1a", "a_b", "a\n", "ä"])
def test_a_cluster_may_not_be_called(name: str) -> None:
    problem = names.problem_with_cluster_name(name)
    assert problem is not None
    assert "metadata.name" in problem


def test_a_group_may_have_longer_names_and_begin_with_a_digit() -> None:
    assert names.problem_with_name("1" * 63) is None
    assert names.problem_with_name("1" * 64) is not None
    assert names.problem_with_name("a\n") is not None


def test_children_of_the_longest_cluster_fit_into_labels_and_services() -> None:
    longest = "a" * names.MAX_CLUSTER_NAME_LENGTH
    assert len(names.scheduler(longest)) <= 63
    assert len(names.default_group(longest)) <= names.MAX_NAME_LENGTH


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dask-jörg.müller@example.com-1a2b", "dask-jorg-muller-example-com-1a2b"),
        ("simple", "simple"),
        ("1st", "dask-1st"),
        ("__", "dask"),
    ],
)
def test_any_text_becomes_a_name(text: str, name: str) -> None:
    assert names.valid_name(text) == name


def test_a_long_name_keeps_the_end_that_makes_it_unique() -> None:
    name = names.valid_name("dask-" + "long" * 20 + "-1a2b3c4d")
    assert name.endswith("-1a2b3c4d")
    assert len(name) <= 53
    assert name != names.valid_name("dask-" + "lang" * 20 + "-1a2b3c4d")


@given(st.text(max_size=200))
def test_every_text_becomes_a_valid_name(text: str) -> None:
    name = names.valid_name(text)
    assert names.problem_with_cluster_name(name) is None
    assert names.valid_name(name) == name
