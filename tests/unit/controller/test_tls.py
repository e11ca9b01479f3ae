"""TLS: the certificate that is made, what pods get of it, and how a live cluster changes what it speaks."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from dask_k8s_controller.cache.certificate import Certificate, fingerprint
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster import children, tls
from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster, endpoint
from dask_k8s_controller.cluster.plan import plan
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.status import status
from dask_k8s_controller.cluster.tls import TLS
from dask_k8s_controller.job.children import runner_pod
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.certificates import KeyPair, issue
from dask_k8s_controller.kubernetes.rules import RIGHTS
from dask_k8s_controller.kubernetes.status_writer import merging
from dask_k8s_controller.plans.actions import Ask, Create, CreateCertificate, Delete, Outcome
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Answer, Problem, ServedCertificate
from dask_k8s_controller.settings import Policy, TLSMode
from dask_k8s_controller.worker_group.plan import plan as plan_group
from dask_k8s_models import labels
from dask_k8s_models.cluster import ClusterStatus
from tests.documents import job as job_document
from tests.unit.controller.builders import (
    NOW,
    answer,
    cluster,
    group,
    metadata,
    observed_cluster,
    observed_group,
    pod_body,
    pod_spec,
    scheduler_pod,
    worker,
    worker_pod,
)

DAY = timedelta(days=1)
PAIR = issue("c", ["c-scheduler.default.svc", "127.0.0.1"], NOW, NOW + 365 * DAY)
POLICY = Policy()
SPOKEN = TLS("c-tls")


def certificate(secret: str = "c-tls", *, days: float = 365, renew_in: float = 240) -> Certificate:
    return Certificate(secret, PAIR.certificate, NOW + days * DAY, NOW + renew_in * DAY)


def encrypted(**more: Any) -> Cluster:
    return cluster(**{"tls": {}, "status": {"tls": certificate().as_status()}, **more})


def speaking(secret: str = "c-tls", ends: str = "2027-11-23T12:00:00Z", https: str = "", **more: Any) -> Pod:
    """A scheduler's pod that speaks TLS."""
    return scheduler_pod(annotations=TLS(secret, https, ends).annotations, **more)


def made(actions: Plan, kind: str) -> list[dict[str, Any]]:
    return [one.body for one in actions.actions if isinstance(one, Create) and one.body["kind"] == kind]


def certifying(of: Plan) -> list[CreateCertificate]:
    return [one for one in of.actions if isinstance(one, CreateCertificate)]


def deleted(of: Plan) -> list[str]:
    return [one.name for one in of.actions if isinstance(one, Delete)]


def without_a_scheduler(of: Cluster, **more: Any) -> ObservedCluster:
    return observed_cluster(of, pods=(), **more)


class TestACertificate:
    def test_is_good_for_its_hosts_and_both_sides_of_a_connection(self) -> None:
        read = x509.load_pem_x509_certificate(PAIR.certificate.encode())
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["c-scheduler.default.svc"]
        usage = read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {one._name for one in usage} == {"serverAuth", "clientAuth"}
        assert read.not_valid_after_utc == NOW + 365 * DAY
        assert read.not_valid_before_utc < NOW

    def test_is_signed_by_an_authority_that_has_signed_nothing_else(self) -> None:
        authority = x509.load_pem_x509_certificate(PAIR.authority.encode())
        x509.load_pem_x509_certificate(PAIR.certificate.encode()).verify_directly_issued_by(authority)
        other = issue("c", [], NOW, NOW + DAY)
        with pytest.raises(ValueError, match=r"[Ii]ssuer|signature|Subject"):
            x509.load_pem_x509_certificate(other.certificate.encode()).verify_directly_issued_by(
                x509.load_pem_x509_certificate(issue("d", [], NOW, NOW + DAY).authority.encode())
            )

    def test_belongs_to_its_key(self) -> None:
        key = serialization.load_pem_private_key(PAIR.key.encode(), None)
        read = x509.load_pem_x509_certificate(PAIR.certificate.encode())
        assert key.public_key() == read.public_key()

    def test_has_the_digest_that_others_find(self) -> None:
        from cryptography.hazmat.primitives import hashes

        read = x509.load_pem_x509_certificate(PAIR.certificate.encode())
        assert fingerprint(PAIR.certificate) == read.fingerprint(hashes.SHA256()).hex()

    def test_is_read_from_the_status_as_it_was_written(self) -> None:
        assert Certificate.of_status(certificate().as_status()) == certificate()

    @pytest.mark.parametrize("tls_status", [{}, {"secretName": "mine"}])
    def test_of_somebody_elses_making_is_none_of_ours(self, tls_status: dict[str, str]) -> None:
        assert Certificate.of_status(tls_status) is None


class TestItsSecret:
    def test_is_made_before_any_pod(self) -> None:
        planned = plan(without_a_scheduler(cluster(tls={}), service=None, groups=()), POLICY)
        [action] = certifying(planned)
        assert action.body["metadata"]["name"] == "c-tls"
        assert action.body["type"] == "kubernetes.io/tls"
        assert action.body["metadata"]["ownerReferences"][0]["uid"] == "cluster"
        assert (action.not_after, action.renew_at) == (
            NOW + timedelta(seconds=POLICY.certificate_lifetime),
            NOW + timedelta(seconds=POLICY.certificate_lifetime) * 2 / 3,
        )
        assert made(planned, "Pod") == []
        assert planned.requeue_at == NOW

    def test_is_made_once(self) -> None:
        planned = plan(without_a_scheduler(encrypted(), certificate=certificate()), POLICY)
        assert certifying(planned) == []
        [pod] = made(planned, "Pod")
        assert pod["metadata"]["annotations"][labels.TLS_SECRET] == "c-tls"

    def test_is_followed_by_another_in_the_last_third_of_its_time(self) -> None:
        of = encrypted()
        early = plan(observed_cluster(of, pods=(speaking(),), certificate=certificate()), POLICY)
        assert certifying(early) == []
        assert early.requeue_at == NOW + 240 * DAY
        late = plan(observed_cluster(of, pods=(speaking(),), certificate=certificate(renew_in=0)), POLICY)
        [action] = certifying(late)
        assert not action.is_first

    def test_is_none_where_the_user_has_one(self) -> None:
        of = cluster(tls={"secretName": "mine"})
        planned = plan(without_a_scheduler(of), POLICY)
        assert certifying(planned) == []
        [pod] = made(planned, "Pod")
        assert {"name": tls.VOLUME, "secret": {"secretName": "mine"}} in pod["spec"]["volumes"]

    def test_is_none_without_tls(self) -> None:
        assert certifying(plan(without_a_scheduler(cluster()), POLICY)) == []


class TestWhoGetsIt:
    @pytest.mark.parametrize(
        ("mode", "spec", "speaks"),
        [
            (TLSMode.OFF, {}, False),
            (TLSMode.OFF, {"tls": {}}, True),
            (TLSMode.OFF, {"tls": {"enabled": True}}, True),
            (TLSMode.DEFAULT, {}, True),
            (TLSMode.DEFAULT, {"tls": {"enabled": False}}, False),
            (TLSMode.REQUIRED, {}, True),
        ],
    )
    def test_is_the_clusters_choice_else_the_controllers(
        self, mode: TLSMode, spec: dict[str, Any], speaks: bool
    ) -> None:
        planned = plan(without_a_scheduler(cluster(**spec)), Policy(tls=mode))
        assert bool(certifying(planned)) is speaks
        assert bool(made(planned, "Pod")) is not speaks

    def test_refuses_whoever_wants_none_where_it_is_required(self) -> None:
        policy, of = Policy(tls=TLSMode.REQUIRED), cluster(tls={"enabled": False})
        planned = plan(without_a_scheduler(of, service=None, groups=()), policy)
        assert planned.actions == []
        [remark] = planned.remarks
        assert remark.needs_a_person
        assert "spec.tls" in remark.message
        stalled = status(without_a_scheduler(of), planned, Outcome())["conditions"]
        assert next(item for item in stalled if item["type"] == "Stalled")["reason"] == "TLSRequired"
        waiting = plan_group(observed_group(group(), cluster=of, scheduler=None), policy)
        assert (waiting.actions, [remark.reason for remark in waiting.remarks]) == ([], ["ClusterRefused"])


def env(pod: dict[str, Any], container: int = 0) -> dict[str, str]:
    return {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][container]["env"]}


class TestPods:
    def scheduler(self, how: TLS | None = SPOKEN, **scheduler: Any) -> dict[str, Any]:
        return children.scheduler_pod(cluster(scheduler=scheduler), tls=how)

    def test_have_the_secret_as_a_volume_that_they_cant_write(self) -> None:
        spec = self.scheduler()["spec"]
        assert spec["volumes"] == [{"name": "dask-tls", "secret": {"secretName": "c-tls"}}]
        [mount] = spec["containers"][0]["volumeMounts"]
        assert mount["readOnly"] is True
        assert env({"spec": spec})[f"{tls.COMM}TLS__CA_FILE"] == f"{mount['mountPath']}/ca.crt"

    def test_are_as_before_without_tls(self) -> None:
        plain = self.scheduler(None)
        assert "volumes" not in plain["spec"]
        assert not [name for name in env(plain) if "TLS" in name or "ENCRYPTION" in name]
        assert not plain["metadata"]["annotations"].keys() & {labels.TLS_SECRET, labels.HTTPS}

    def test_keep_what_the_user_has_set(self) -> None:
        mine = pod_spec("scheduler", "dask", "scheduler", volumes=[{"name": "dask-tls", "emptyDir": {}}])
        mine["containers"][0] |= {
            "env": [{"name": f"{tls.COMM}TLS__CA_FILE", "value": "/mine.crt"}],
            "volumeMounts": [{"name": "dask-tls", "mountPath": f"{tls.DIRECTORY}/"}],
        }
        pod = self.scheduler(spec=mine)
        assert pod["spec"]["volumes"] == mine["volumes"]
        assert pod["spec"]["containers"][0]["volumeMounts"] == mine["containers"][0]["volumeMounts"]
        assert env(pod)[f"{tls.COMM}TLS__CA_FILE"] == "/mine.crt"
        assert [one["name"] for one in pod["spec"]["containers"][0]["env"]].count(
            f"{tls.COMM}TLS__CA_FILE"
        ) == 1

    def test_a_schedulers_sidecars_get_no_key(self) -> None:
        two = {"containers": [{"name": "proxy", "image": "x"}, {"name": "scheduler", "image": "dask"}]}
        sidecar, scheduler = self.scheduler(spec=two)["spec"]["containers"]
        assert "volumeMounts" not in sidecar
        assert "volumeMounts" in scheduler

    def test_serve_https_if_asked_and_are_probed_so(self) -> None:
        probes = {
            "readinessProbe": {"httpGet": {"port": "http-dashboard", "path": "/health"}},
            "livenessProbe": {"httpGet": {"port": 8787, "path": "/health", "scheme": "HTTP"}},
            "startupProbe": {"httpGet": {"port": 9000, "path": "/mine"}},
        }
        ports = [{"name": "http-dashboard", "containerPort": 8787}]
        spec = pod_spec("scheduler", "dask", "scheduler")
        spec["containers"][0] |= {**probes, "ports": ports}
        container = self.scheduler(TLS("c-tls", https="ab"), spec=spec)["spec"]["containers"][0]
        assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
        assert container["livenessProbe"] == probes["livenessProbe"]
        assert container["startupProbe"] == probes["startupProbe"]
        assert env({"spec": {"containers": [container]}})[f"{tls.HTTPS}CERT"] == tls.CERTIFICATE
        plain = self.scheduler(TLS("c-tls"), spec=spec)["spec"]["containers"][0]
        assert plain["readinessProbe"] == probes["readinessProbe"]
        assert f"{tls.HTTPS}CERT" not in env({"spec": {"containers": [plain]}})

    def test_of_workers_follow_the_scheduler_that_is_there(self) -> None:
        of = encrypted()
        for scheduler, address in ((speaking(), "tls://"), (scheduler_pod(), "tcp://")):
            planned = plan_group(observed_group(group(), cluster=of, scheduler=scheduler), POLICY)
            one, _ = made(planned, "Pod")
            assert env(one)["DASK_SCHEDULER_ADDRESS"].startswith(address)
            assert (labels.TLS_SECRET in one["metadata"]["annotations"]) is (address == "tls://")

    def test_of_workers_leave_by_https_where_it_is_served(self) -> None:
        scheduler = speaking(https="ab")
        planned = plan_group(observed_group(group(), cluster=encrypted(), scheduler=scheduler), POLICY)
        container = made(planned, "Pod")[0]["spec"]["containers"][0]
        assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == tls.AUTHORITY
        assert f"{tls.HTTPS}CERT" not in env({"spec": {"containers": [container]}})

    def test_of_workers_wait_for_the_certificate_if_there_is_no_scheduler(self) -> None:
        waiting = plan_group(observed_group(group(), cluster=cluster(tls={}), scheduler=None), POLICY)
        assert made(waiting, "Pod") == []
        assert [remark.reason for remark in waiting.remarks] == ["CertificateMissing"]
        ready = plan_group(observed_group(group(), cluster=encrypted(), scheduler=None), POLICY)
        assert [env(pod)["DASK_SCHEDULER_ADDRESS"][:6] for pod in made(ready, "Pod")] == ["tls://"] * 2

    def test_of_jobs_follow_the_scheduler_too(self) -> None:
        body = {**job_document("c"), "metadata": metadata("c")}
        pod = runner_pod(Job.of(body), 1, encrypted(), speaking(), 0)
        assert env(pod)["DASK_SCHEDULER_ADDRESS"] == "tls://c-scheduler.default.svc:8786"
        assert {"name": "dask-tls", "secret": {"secretName": "c-tls"}} in pod["spec"]["volumes"]

    def test_whose_scheduler_speaks_otherwise_by_now_are_replaced_at_once(self) -> None:
        of_before = worker_pod("w0", annotations={labels.TLS_SECRET: "c-tls"})
        staying = worker_pod("w1", annotations={labels.TLS_SECRET: "c-tls-2"})
        planned = plan_group(
            observed_group(group(), of_before, staying, cluster=encrypted(), scheduler=speaking("c-tls-2")),
            POLICY,
        )
        assert deleted(planned) == ["w0"]
        assert len(made(planned, "Pod")) == 1

    def test_stay_while_there_is_no_scheduler(self) -> None:
        pods = [worker_pod(name, annotations={labels.TLS_SECRET: "old"}) for name in ("w0", "w1")]
        planned = plan_group(observed_group(group(), *pods, cluster=encrypted(), scheduler=None), POLICY)
        assert planned.actions == []


def idle(since: float = 60, age: float = 0) -> Answer[float]:
    return Answer(-age, since)


BUSY: Answer[float] = Answer(0.0)


class TestOnALiveCluster:
    @pytest.mark.parametrize(
        ("of", "present"),
        [
            (encrypted(), scheduler_pod()),
            (cluster(), speaking()),
            (encrypted(tls={"dashboard": True}), speaking()),
            (cluster(tls={"secretName": "other"}), speaking("mine")),
        ],
        ids=["enabling", "disabling", "by HTTPS", "another Secret"],
    )
    def test_a_change_waits_as_any_change_of_the_scheduler(self, of: Cluster, present: Pod) -> None:
        about = {"pods": (present,), "certificate": certificate()}
        busy = plan(observed_cluster(of, **about, idle=BUSY), POLICY)
        assert deleted(busy) == []
        [remark] = busy.remarks
        assert remark.reason == "SchedulerChangePending"
        assert "results in memory are lost" in remark.message
        assert deleted(plan(observed_cluster(of, **about, idle=idle()), POLICY)) == ["c-scheduler"]

    def test_the_status_tells_what_is_spoken_now(self) -> None:
        of = encrypted()
        observed = observed_cluster(of, pods=(scheduler_pod(),), certificate=certificate(), idle=BUSY)
        assert status(observed, plan(observed, POLICY), Outcome())["schedulerAddress"].startswith("tcp://")
        later = replace(observed, pods=(speaking(https="ab"),))
        told = status(later, plan(later, POLICY), Outcome())
        assert told["schedulerAddress"].startswith("tls://")
        assert told["dashboardAddress"].startswith("https://")


class TestRenewing:
    NEW = certificate("c-tls-0123456789")

    def renewing(self, **more: Any) -> ClusterPlan:
        return plan(self.observed(**more), POLICY)

    def observed(self, **more: Any) -> ObservedCluster:
        about: dict[str, Any] = {
            "pods": (speaking(ends="2026-12-23T12:00:00Z"),),
            "certificate": self.NEW,
            "idle": idle(),
            "workers": answer(worker("10.0.0.1:1")),
            **more,
        }
        return observed_cluster(encrypted(), **about)

    def test_replaces_a_scheduler_that_holds_nothing(self) -> None:
        assert deleted(self.renewing()) == ["c-scheduler"]

    @pytest.mark.parametrize(
        "held",
        [
            {"workers": answer(worker("10.0.0.1:1", keys=1))},
            {"workers": answer(worker("10.0.0.1:1", executing=1))},
            {"workers": Answer(0.0, None, Problem.UNREACHABLE, "away")},
            {"idle": BUSY},
            {"idle": idle(since=1)},
            {"idle": Answer(0.0, None, Problem.UNREACHABLE, "away")},
            {"pods": (speaking(ends="2026-12-23T12:00:00Z", ready=False),)},
            {"runners": (Pod.of(pod_body("c-runner", component="job-runner")),)},
        ],
        ids=[
            "results",
            "tasks",
            "unknown results",
            "busy",
            "idle for a moment",
            "silent",
            "unready",
            "a job",
        ],
    )
    def test_waits_while_something_could_be_lost(self, held: dict[str, Any]) -> None:
        planned = self.renewing(**held)
        assert deleted(planned) == []
        assert planned.requeue_at is not None
        assert planned.requeue_at > NOW

    @pytest.mark.parametrize(
        ("known", "question"),
        [
            ({"idle": None}, Ask.IDLE),
            ({"idle": idle(age=3600)}, Ask.IDLE),
            ({"workers": None}, Ask.WORKERS),
        ],
        ids=["idleness unknown", "idleness long ago", "results unknown"],
    )
    def test_asks_before_it_acts(self, known: dict[str, Any], question: object) -> None:
        planned = self.renewing(**known)
        assert deleted(planned) == []
        assert planned.questions == [question]

    def test_is_no_concern_of_whoever_is_ready(self) -> None:
        observed = self.observed(idle=BUSY)
        planned = plan(observed, POLICY)
        assert planned.remarks == []
        conditions = {item["type"]: item for item in status(observed, planned, Outcome())["conditions"]}
        assert conditions["Reconciling"]["reason"] != "SchedulerChangePending"
        assert conditions["CertificateValid"]["reason"] == "RenewalPending"
        assert "2026-12-23T12:00:00Z" in conditions["CertificateValid"]["message"]
        assert labels.RESTART in conditions["CertificateValid"]["message"]

    def test_is_forced_by_the_annotation(self) -> None:
        of = encrypted(metadata={"annotations": {labels.RESTART: "now"}})
        observed = replace(self.observed(idle=BUSY), subject=of)
        assert deleted(plan(observed, POLICY)) == ["c-scheduler"]

    def test_too_late_is_told(self) -> None:
        observed = self.observed(pods=(speaking(ends="2026-11-22T12:00:00Z"),), idle=BUSY)
        conditions = {
            item["type"]: item for item in status(observed, plan(observed, POLICY), Outcome())["conditions"]
        }
        assert conditions["CertificateValid"]["status"] == "False"
        assert conditions["CertificateValid"]["reason"] == "CertificateExpired"


class TestTheStatus:
    def told(self, of: Cluster, known: Certificate | None = None) -> dict[str, Any]:
        observed = observed_cluster(of, certificate=known)
        told = status(observed, plan(observed, POLICY), Outcome())
        ClusterStatus.model_validate(told)
        return told

    def test_tells_the_certificate_and_when_it_ends(self) -> None:
        told = self.told(encrypted(), certificate())["tls"]
        assert told["certificate"] == PAIR.certificate
        assert told["notAfter"] == "2027-11-23T12:00:00Z"
        assert "PRIVATE" not in str(told)

    def test_tells_what_a_scheduler_says_of_a_users_certificate(self) -> None:
        of = cluster(tls={"secretName": "mine"})
        asking = observed_cluster(of, pods=(speaking("mine", ends=""),))
        planned = plan(asking, POLICY)
        assert planned.questions == [Ask.CERTIFICATE]
        unknown = {item["type"]: item for item in status(asking, planned, Outcome())["conditions"]}
        assert unknown["CertificateValid"]["reason"] == "CertificateUnknown"
        served = Answer(0.0, ServedCertificate(PAIR.certificate, NOW + 9 * DAY))
        told = replace(asking, served=served)
        planned = plan(told, POLICY)
        assert planned.questions == []
        said = status(told, planned, Outcome())
        ClusterStatus.model_validate(said)
        assert said["tls"] == {
            "secretName": "mine",
            "certificate": PAIR.certificate,
            "notAfter": "2026-12-02T12:00:00Z",
        }
        known = {item["type"]: item for item in said["conditions"]}
        assert known["CertificateValid"]["message"] == "The certificate ends at 2026-12-02T12:00:00Z."

    def test_tells_a_users_secret(self) -> None:
        assert self.told(cluster(tls={"secretName": "mine"}))["tls"] == {"secretName": "mine"}

    def test_says_nothing_without_tls(self) -> None:
        assert "tls" not in self.told(cluster(status={"tls": certificate().as_status()}))

    def test_of_one_secret_keeps_nothing_of_another(self) -> None:
        patch = merging({"tls": {"secretName": "mine"}}, {"tls": certificate().as_status()})
        assert patch == {
            "tls": {"secretName": "mine", "certificate": None, "notAfter": None, "renewAt": None}
        }


class TestTheSchedulersEndpoint:
    def test_is_asked_by_https_where_it_is_served_so(self) -> None:
        plain = endpoint(encrypted(), speaking(ip="10.0.0.9"), 0)
        assert plain.direct_url == "http://10.0.0.9:8787"
        served = endpoint(encrypted(), speaking(https="ab", ip="10.0.0.9"), 0)
        assert served.direct_url == "https://10.0.0.9:8787"
        assert served.proxy_path == "/api/v1/namespaces/default/pods/https:c-scheduler:8787/proxy"


def test_the_operator_can_read_no_secret() -> None:
    about_secrets = [
        right for rights in RIGHTS.values() for right in rights if right.resource.startswith("secrets")
    ]
    assert about_secrets
    assert {verb for right in about_secrets for verb in right.verbs} == {"create"}
    assert not [
        right for rights in RIGHTS.values() for right in rights if "*" in (right.resource, *right.verbs)
    ]


def test_a_key_pair_is_written_in_pem() -> None:
    assert isinstance(PAIR, KeyPair)
    for text in (PAIR.certificate, PAIR.authority, PAIR.key):
        assert base64.b64decode("".join(text.splitlines()[1:-1]))
