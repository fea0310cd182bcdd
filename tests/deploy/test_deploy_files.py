"""The files of `raysys deploy`: what Ray, Kubernetes and the shell say of them, and what users rely on."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from raysys.cli.app import app, main

CLONE = Path(__file__).resolve().parents[2]
DEPLOY = CLONE / "raysys" / "deploy"
NAMES = {"Dockerfile", "aws.yaml", "machines.yaml", "raycluster.yaml", "rayjob.yaml", "slurm.sh"}
TOKEN = {"~/.ray/auth_token": "~/.ray/auth_token"}
KUBERNETES = "1.34"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def cluster_spec(name: str) -> dict[str, Any]:
    """What a manifest says of its Ray cluster."""
    spec: dict[str, Any] = documents(name)[-1]["spec"]
    return spec.get("rayClusterSpec", spec)


def test_the_files_are_listed_with_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split()[0] for row in rows} == NAMES
    assert all(len(row.split()) > 5 for row in rows)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_file_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", name]) == 0
    assert capsys.readouterr().out == (DEPLOY / name).read_text()


def test_an_unknown_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "nomad.hcl"]) == 2
    assert "choose one of Dockerfile, aws.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["aws.yaml", "machines.yaml"])
def test_ray_up_takes_the_cluster_file(name: str) -> None:
    (config,) = documents(name)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]
    assert prepared["setup_commands"] == config["setup_commands"], "Ray's own set-up would run"
    assert prepared["file_mounts"] == TOKEN


def test_on_aws_trials_run_on_spot_machines_and_the_head_is_kept_for_the_driver() -> None:
    (config,) = documents("aws.yaml")
    types = config["available_node_types"]
    head, trials = types.pop(config["head_node_type"]), types.pop("trials")
    assert not types
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert trials["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert 0 < trials["min_workers"] < trials["max_workers"] <= config["max_workers"]
    assert "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]


def test_all_machines_of_ones_own_are_used() -> None:
    (config,) = documents("machines.yaml")
    provider = config["provider"]
    assert config["min_workers"] == config["max_workers"] == len(provider["worker_ips"])
    assert provider["head_ip"] not in provider["worker_ips"]
    assert "RAY_AUTH_MODE=token" in config["setup_commands"][0]


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_kubernetes_takes_what_the_manifest_says_of_pods(name: str) -> None:
    spec = cluster_spec(name)
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    for other in documents(name)[:-1]:
        kubernetes_validate.validate(other, KUBERNETES, strict=True)


def test_a_wrong_pod_would_be_noticed() -> None:
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": {"spec": {"container": []}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


FIELDS = {
    "RayJob": {
        "entrypoint": str,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": dict,
    },
    "RayCluster": {
        "rayVersion": str,
        "authOptions": dict,
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": dict,
        "headGroupSpec": dict,
        "workerGroupSpecs": list,
    },
    "HeadGroup": {"rayStartParams": dict, "template": dict},
    "WorkerGroup": {
        "groupName": str,
        "replicas": int,
        "minReplicas": int,
        "maxReplicas": int,
        "rayStartParams": dict,
        "template": dict,
    },
}
"""What we use of KubeRay's resources, and its types: docs.ray.io, "KubeRay CRD API reference"."""


def check_fields(kind: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        assert isinstance(value, FIELDS[kind][name]), f"{kind}.{name}"


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_the_manifests_have_fields_that_kuberay_knows(name: str) -> None:
    resource = documents(name)[-1]
    assert resource["apiVersion"] == "ray.io/v1"
    check_fields(resource["kind"], resource["spec"])
    spec = cluster_spec(name)
    check_fields("RayCluster", spec)
    check_fields("HeadGroup", spec["headGroupSpec"])
    assert set(spec["autoscalerOptions"]) == {"idleTimeoutSeconds"}
    for group in spec["workerGroupSpecs"]:
        check_fields("WorkerGroup", group)
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert all(isinstance(value, str) for group in groups for value in group["rayStartParams"].values())


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_on_kubernetes_the_head_has_no_trials_and_alone_the_key_of_the_teacher(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == ray_version()
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert secrets(head) == ["raysys-storage", "raysys-teacher"]
    assert secrets(workers) == ["raysys-storage"]
    (node,) = workers["template"]["spec"]["nodeSelector"].items()
    assert node == ("karpenter.sh/capacity-type", "spot")
    assert "nodeSelector" not in head["template"]["spec"]


def secrets(group: dict[str, Any]) -> list[str]:
    (container,) = group["template"]["spec"]["containers"]
    return [source["secretRef"]["name"] for source in container["envFrom"]]


def ray_version() -> str:
    (version,) = re.findall("(?m)^ray==(.+)$", (CLONE / "constraints.txt").read_text())
    return str(version)


def test_the_cluster_and_the_job_are_alike() -> None:
    cluster, job = cluster_spec("raycluster.yaml"), cluster_spec("rayjob.yaml")
    pod = job["headGroupSpec"]["template"]["spec"]
    (script,) = pod.pop("volumes")
    (container,) = pod["containers"]
    (mount,) = container.pop("volumeMounts")
    assert cluster == job
    config, resource = documents("rayjob.yaml")
    assert script["configMap"]["name"] == config["metadata"]["name"]
    assert resource["spec"]["entrypoint"] == f"bash {mount['mountPath']}/explore.sh"


def test_the_image_has_the_ray_that_was_tested() -> None:
    assert f"FROM rayproject/ray:{ray_version()}-py311\n" in (DEPLOY / "Dockerfile").read_text()


def explore_script() -> str:
    return str(documents("rayjob.yaml")[0]["data"]["explore.sh"])


@pytest.mark.parametrize("shell", [(DEPLOY / "slurm.sh").read_text(), explore_script()])
def test_shellcheck_finds_nothing(shell: str) -> None:
    checker = Path(sys.executable).parent / "shellcheck"
    for command in (["bash", "-n"], [str(checker), "--shell=bash", "-"]):
        done = subprocess.run(command, input=shell, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_slurm_is_told_what_preemption_and_time_limits_need() -> None:
    told = re.findall("(?m)^#SBATCH --(.+)$", (DEPLOY / "slurm.sh").read_text())
    assert {"requeue", "signal=B:TERM@120", "no-kill", "open-mode=append", "ntasks-per-node=1"} <= set(told)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each `raysys ...` and `ray ...` in a file, up to what the shell takes for itself."""
    text = text.replace("\\\n", " ")
    for found in re.findall(r"(?m)(?<![\w/.-])((?:raysys|ray) [a-z][^`#|>&;\n]*)", text):
        words = found.strip(" '\").:,").replace("'", "").replace('"', "")
        yield shlex.split(words)


def check_command(words: list[str]) -> str:
    """Empty, or what is wrong with a command."""
    group: Any = typer.main.get_command(app) if words[0] == "raysys" else ray_cli
    names = words[1:]
    while isinstance(getattr(group, "commands", None), dict) and names:
        if names[0] not in group.commands:
            return f"{shlex.join(words)}: no command {names[0]}"
        group, *names = group.commands[names[0]], *names[1:]
    known = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    wrong = [word for word in names if re.match("--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"{shlex.join(words)}: no option {' '.join(wrong)}" if wrong else ""


PAGES = sorted(path.relative_to(CLONE) for path in (CLONE / "docs").glob("*.md"))


@pytest.mark.parametrize("path", [*(Path("raysys/deploy") / name for name in sorted(NAMES)), *PAGES], ids=str)
def test_the_commands_in_it_exist(path: Path) -> None:
    commands = list(commands_in((CLONE / path).read_text()))
    assert commands
    assert [wrong for words in commands if (wrong := check_command(words))] == []


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    for line in (
        "raysys tune --resum RUN",
        "raysys explore",
        "ray start --hed",
        "then raysys front --no-such x",
    ):
        (words,) = commands_in(line)
        assert check_command(words), line
    (words,) = commands_in("until ray health-check --address x 2> /dev/null")
    assert check_command(words) == ""


@pytest.mark.slow
def test_the_job_starts_its_run_and_then_goes_on_with_it(tmp_path: Path) -> None:
    script = explore_script()
    for old, new in (
        ("s3://my-bucket/runs/first", str(tmp_path / "runs" / "first")),
        ("--space digits", "--space digits --method noise --max-queries 1000 --queries-per-trial 100"),
        ("--address auto --concurrent 32", "--address local"),
    ):
        assert old in script
        script = script.replace(old, new)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    told = []
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=240
        )
        assert done.returncode == 0, done.stderr
        assert "exit code 4" in done.stdout  # its cap is reached: no further cluster helps
        told.append(done.stderr)
    assert "resuming" not in told[0]
    assert "resuming" in told[1]
