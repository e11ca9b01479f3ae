"""Images aren't pulled; those on the list of failures fail as they would."""

from __future__ import annotations

from tests.local.node.kit import World, a_pod, container, phase, state


def waiting_reason(pod: dict[str, object]) -> object:
    return state(pod).get("waiting", {}).get("reason")


async def test_a_failing_image_goes_into_back_off(world: World) -> None:
    await world.add_node(failing_images=("broken/*",))
    await world.create(a_pod("one", container("true", image="broken/image:1")))
    pod = await world.until("one", lambda pod: waiting_reason(pod) == "ErrImagePull")
    assert "broken/image:1: not found" in state(pod)["waiting"]["message"]
    pod = await world.until("one", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
    assert phase(pod) == "Pending"
    assert state(pod)["waiting"]["message"].startswith('Back-off pulling image "broken/image:1"')
    await world.until_event("one", "BackOff")
    events = await world.events("one")
    assert ("Pulling", 'Pulling image "broken/image:1"') in events
    assert ("Failed", "Error: ErrImagePull") in events
    assert ("BackOff", 'Back-off pulling image "broken/image:1"') in events
    await world.delete("one")
    await world.until_gone("one")


async def test_other_images_are_taken_as_present(world: World) -> None:
    await world.add_node(failing_images=("broken/*",))
    await world.create(a_pod("one", container("true", image="fine/image"), restartPolicy="Never"))
    await world.until("one", lambda pod: phase(pod) == "Succeeded")


async def test_a_failing_image_that_must_not_be_pulled_says_so(world: World) -> None:
    await world.add_node(failing_images=("broken/*",))
    never = container("true", image="broken/image", imagePullPolicy="Never")
    await world.create(a_pod("one", never))
    pod = await world.until("one", lambda pod: waiting_reason(pod) == "ErrImageNeverPull")
    assert state(pod)["waiting"]["message"] == (
        'Container image "broken/image" is not present with pull policy of Never'
    )


async def test_a_malformed_image_is_refused(world: World) -> None:
    await world.add_node()
    await world.create(a_pod("one", container("true", image="Not:An:Image")))
    await world.until("one", lambda pod: waiting_reason(pod) == "InvalidImageName")


async def test_packages_that_an_image_would_install_are_told_to_be_ignored(world: World) -> None:
    await world.add_node()
    env = [{"name": "EXTRA_PIP_PACKAGES", "value": "something"}]
    await world.create(a_pod("one", container("true", env=env), restartPolicy="Never"))
    event = await world.until_event("one", "VariableIgnored")
    assert event["message"].startswith("EXTRA_PIP_PACKAGES does nothing here")
