"""What others' tools make of a manifest and of a model: in-toto's own reader, and OpenSSF's model signing."""

import json
import subprocess
import sys
from pathlib import Path

import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance
import in_toto_attestation.v1.statement_pb2 as statements
import torch
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from safetensors.torch import save_file

from reforge.lineage import graph, manifest

SIGNER = [str(Path(sys.executable).with_name("model_signing"))]


def test_a_manifest_is_an_in_toto_statement_with_slsa_provenance(run_stages, project: Path) -> None:
    run_stages("curate@problems", "base@policy")
    found = json.loads((project / ".runs/base@policy/manifest.json").read_text())
    message = json_format.ParseDict(found, statements.Statement())
    Statement.copy_from_pb(message).validate()
    predicate = json_format.ParseDict(found["predicate"], provenance.Provenance())
    definition, details = predicate.build_definition, predicate.run_details
    assert dict(message.subject[0].digest) == {"dvc_md5": graph.digests(["outputs/base/policy"])["outputs/base/policy"]}
    assert definition.external_parameters["stage"] == "base@policy"
    assert {item.name for item in definition.resolved_dependencies} == {"code", "outputs/curate/problems/data"}
    assert details.metadata.invocation_id == manifest.read("base@policy", project).mlflow_run_id
    assert details.metadata.started_on.seconds <= details.metadata.finished_on.seconds


def test_weights_have_one_digest_however_their_files_are_written(project: Path) -> None:
    tensors = {"head": torch.arange(3.0), "tail": torch.ones(2)}
    digests = []
    for name, metadata in (("a", {"format": "pt"}), ("b", {"by": "another hand", "format": "pt"})):
        folder = Path("outputs", name, "model")
        folder.mkdir(parents=True)
        save_file(tensors, folder / f"{name}.safetensors", metadata)
        ran = manifest.Ran("x", {}, {}, {f"outputs/{name}": "d"}, {"code": {"sha": ""}}, "", 0.0, 1.0)
        (weights,) = (s for s in manifest.statement(ran)["subject"] if "tensors_sha256" in s["digest"])
        digests.append(weights["digest"]["tensors_sha256"])
    assert digests[0] == digests[1]


def test_a_model_can_be_signed_with_a_local_key_and_another_one_is_refused(tmp_path: Path) -> None:
    model, key, public, signature = (tmp_path / name for name in ("model", "key.pem", "public.pem", "model.sig"))
    model.mkdir()
    save_file({"head": torch.ones(3)}, model / "model.safetensors")
    for command in (
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)],
        ["openssl", "ec", "-in", str(key), "-pubout", "-out", str(public)],
        [*SIGNER, "sign", "key", str(model), "--private_key", str(key), "--signature", str(signature)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    check = [*SIGNER, "verify", "key", str(model), "--public_key", str(public), "--signature", str(signature)]
    assert subprocess.run(check, capture_output=True).returncode == 0
    save_file({"head": torch.zeros(3)}, model / "model.safetensors")
    refused = subprocess.run(check, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "model.safetensors" in refused.stderr + refused.stdout
