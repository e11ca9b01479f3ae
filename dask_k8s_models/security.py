"""Who reaches a cluster and how: TLS between its parts and with its clients, and a NetworkPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, create_model

from dask_k8s_models._kubernetes import LabelSelector
from dask_k8s_models.base import KubernetesModel, RuledModel
from dask_k8s_models.markers import Rule
from dask_k8s_models.scalars import Time

SECRET_NAME_PATTERN = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"


class TLSSpec(RuledModel):
    """TLS between scheduler, workers, job runners and clients."""

    enabled: Annotated[
        bool | None,
        Field(description="False: plain TCP, where the controller's default would be TLS."),
    ] = None
    secretName: Annotated[
        str | None,
        Field(
            description="A Secret of the type kubernetes.io/tls with ca.crt, as cert-manager writes it. "
            "Without it the controller makes a certificate for this cluster alone.",
            min_length=1,
            max_length=253,
            pattern=SECRET_NAME_PATTERN,
        ),
    ] = None
    dashboard: Annotated[
        bool | None,
        Field(description="Serve the dashboard and the scheduler's HTTP routes by HTTPS as well."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.enabled) || self.enabled || "
            "!has(self.secretName) && (!has(self.dashboard) || !self.dashboard)",
            message="tls.enabled is false, so tls.secretName and tls.dashboard mean nothing: remove them",
            holds=lambda tls: tls.enabled is not False or (tls.secretName is None and not tls.dashboard),
            field="enabled",
        ),
    )


IPBlock = create_model(
    "IPBlock",
    __base__=KubernetesModel,
    __doc__="A range of addresses.",
    cidr=(str, ...),
    # A field called as a word of Python's.
    **{"except": (list[str] | None, None)},  # type: ignore[call-overload]
)


class NetworkPolicyPeer(KubernetesModel):
    """Whom a NetworkPolicy lets through."""

    ipBlock: IPBlock | None = None
    namespaceSelector: LabelSelector | None = None
    podSelector: LabelSelector | None = None


class NetworkPolicySpec(KubernetesModel):
    """A NetworkPolicy for the scheduler and the workers.

    This cluster's pods, its job runners, the controller and pods with the label ``dask.org/client-of`` reach
    them.
    """

    peers: Annotated[
        list[NetworkPolicyPeer] | None,
        Field(description="Who else reaches them, as in the rule `from` of a NetworkPolicy."),
    ] = None


class TLSStatus(KubernetesModel):
    """The certificate that new pods of a cluster get."""

    secretName: Annotated[str, Field(description="The Secret with certificate, key and ca.crt.")]
    certificate: Annotated[
        str | None, Field(description="The certificate in PEM, its public part, once it is known.")
    ] = None
    notAfter: Annotated[Time | None, Field(description="When the certificate ends.")] = None
    renewAt: Annotated[
        Time | None, Field(description="When the controller makes another, if it has made this one.")
    ] = None
