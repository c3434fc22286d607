"""The generated files are what the generator writes, and a node pays only for what it uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from epc.wire.s1ap import generate
from epc.wire.s1ap.naming import field_name


def test_generated_files_are_up_to_date() -> None:
    for name, content in generate.generate().items():
        assert (generate.HERE / name).read_text() == content, f"{name} differs: run python -m epc.wire.s1ap.generate"


def test_importing_the_codec_loads_neither_pycrate_nor_unused_messages() -> None:
    script = (
        "import sys; from epc.wire.s1ap import DownlinkNASTransport, encode, decode;"
        "m = DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, nas_pdu=b'');"
        "assert decode(encode(m)) == m; print(*sorted(sys.modules))")
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not [module for module in loaded if module.startswith("pycrate")]
    assert "epc.wire.s1ap.context" in loaded
    assert not {"epc.wire.s1ap.ies", "epc.wire.s1ap.ies_measurement", "epc.wire.s1ap.handover"} & set(loaded)


@pytest.mark.parametrize(("asn1", "python"), [
    ("MME-UE-S1AP-ID", "mme_ue_s1ap_id"),
    ("eNB-UE-S1AP-ID", "enb_ue_s1ap_id"),
    ("eNBname", "enb_name"),
    ("pLMNidentity", "plmn_identity"),
    ("uEaggregateMaximumBitRateDL", "ue_aggregate_maximum_bit_rate_dl"),
    ("E-RABToBeSetupListCtxtSUReq", "e_rab_to_be_setup_list_ctxt_su_req"),
    ("NASSecurityParametersfromE-UTRAN", "nas_security_parameters_from_e_utran"),
    ("SupportedTAs", "supported_tas"),
])
def test_names_become_snake_case(asn1: str, python: str) -> None:
    assert field_name(asn1) == python
