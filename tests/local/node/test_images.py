"""Images aren't pulled; those on the list of failures fail as they would."""

from __future__ import annotations

from tests.local.node.kit import Cluster, a_pod, container, phase, state


def waiting_reason(pod: dict[str, object]) -> object:
    return state(pod).get("waiting", {}).get("reason")


async def test_a_failing_image_goes_into_back_off(cluster: Cluster) -> None:
    await cluster.add_node(failing_images=("broken/*",))
    await cluster.create(a_pod("one", container("true", image="broken/image:1")))
    pod = await cluster.until("one", lambda pod: waiting_reason(pod) == "ErrImagePull")
    assert "broken/image:1: not found" in state(pod)["waiting"]["message"]
    pod = await cluster.until("one", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
    assert phase(pod) == "Pending"
    assert state(pod)["waiting"]["message"].startswith('Back-off pulling image "broken/image:1"')
    await cluster.until_event("one", "BackOff")
    events = await cluster.events("one")
    assert ("Pulling", 'Pulling image "broken/image:1"') in events
    assert ("Failed", "Error: ErrImagePull") in events
    assert ("BackOff", 'Back-off pulling image "broken/image:1"') in events
    await cluster.delete("one")
    await cluster.until_gone("one")


async def test_other_images_are_taken_as_present(cluster: Cluster) -> None:
    await cluster.add_node(failing_images=("broken/*",))
    await cluster.create(a_pod("one", container("true", image="fine/image"), restartPolicy="Never"))
    await cluster.until("one", lambda pod: phase(pod) == "Succeeded")


async def test_a_failing_image_that_must_not_be_pulled_says_so(cluster: Cluster) -> None:
    await cluster.add_node(failing_images=("broken/*",))
    never = container("true", image="broken/image", imagePullPolicy="Never")
    await cluster.create(a_pod("one", never))
    pod = await cluster.until("one", lambda pod: waiting_reason(pod) == "ErrImageNeverPull")
    assert state(pod)["waiting"]["message"] == (
        'Container image "broken/image" is not present with pull policy of Never'
    )


async def test_a_malformed_image_is_refused(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("true", image="Not:An:Image")))
    await cluster.until("one", lambda pod: waiting_reason(pod) == "InvalidImageName")


async def test_packages_that_an_image_would_install_are_told_to_be_ignored(cluster: Cluster) -> None:
    await cluster.add_node()
    env = [{"name": "EXTRA_PIP_PACKAGES", "value": "something"}]
    await cluster.create(a_pod("one", container("true", env=env), restartPolicy="Never"))
    event = await cluster.until_event("one", "VariableIgnored")
    assert event["message"].startswith("EXTRA_PIP_PACKAGES does nothing here")
