"""How names of the ASN.1 become Python names: ``uEaggregateMaximumBitRateDL`` is ``ue_aggregate_maximum_bit_rate_dl``."""

from __future__ import annotations

import re

# Words that camel case does not separate. Longer ones win; at the start of a name the first letter may be small.
_WORDS = """
S1AP UEs UE MMECs MMEC MME ENBs ENB eNBs eNB PLMNs PLMN TAIs TAI TAs TA TACs TAC GUMMEIs GUMMEI GUTI EUTRAN UTRAN E-UTRAN E-RABs E-RAB RAB
NCGI CGI ECGI IDs ID NAS PDU RRC TMSI GTP TEID QCI PQI QoS Qos GBR DL UL IEs IE cdma2000 SRVCC MDT SON RLF HO X2 TNL L-GW GW SIPTO LHN CSG PWS
NB-IoT NR ProSe V2X PC5 eDRX DRX LPPa RFP LAI LACs LAC LAs LA RAC RNC CN MSClassmark2 MSClassmark3 MSI MEID RAND GERAN BSS EPLMNs IMEISV IMSI DCNs DCN
CE EARFCN EN-DC en-gNBs en-gNB engNB gNB GNB NG-RAN NGRAN NgRan NG RAN RATs RAT QMC WLAN URI RIM PSCells PSCell PS M1 M3 M4 M5 M6 M7 A2 RSRP RSRQ RS
CIoT RACS WUS HFN PDCP SN COUNT SDUs SDU L1 L3 CS IP TLAs TLA BBF DAPS IAB NTN EAI EDT EPS 5GS 5G MBSFN NGAP eHRPD MAC BPLMNs LTE IMS S1 CI
SINR SMTC SSB SSRSSI UDP OneX
""".split()  # noqa: SIM905

# Where the specification glues words together or breaks its own habits.
_RESPELLED = {
    "Cellin": "Cell-In-", "Listfor": "List-For-", "sourceeNB": "source-ENB", "SourceeNB": "Source-ENB", "targeteNB": "target-ENB",
    "TargeteNB": "Target-ENB", "sourceengNB": "source-engNB", "targetengNB": "target-engNB", "globaleNBID": "global-ENB-ID",
    "globalengNBID": "global-engNB-ID", "Connectedeng": "Connected-eng", "targetgNgRan": "target-gNB-NgRan",
    "aggressoreCGI": "aggressor-ECGI", "SRVCCHO": "SRVCC-HO-", "HOReq": "HO-Req", "HOCmd": "HO-Cmd", "failedto": "failed-To-",
    "Failedto": "Failed-To-", "Subjectto": "Subject-To-", "Contextat": "Context-At-", "Parametersfrom": "Parameters-From-",
    "Parametersto": "Parameters-To-", "fallbackfrom": "fallback-From-", "restrictioninEPSas": "restriction-In-EPS-As-",
    "restrictionin": "restriction-In-", "Numberof": "Number-Of-", "numberof": "number-Of-", "sourceof": "source-Of-",
    "statusof": "status-Of-", "Statusof": "Status-Of-", "timeof": "time-Of-", "dayof": "day-Of-", "thresholdevent": "threshold-Event-",
    "dapsresponseindicator": "daps-Response-Indicator", "gTPTLAa": "gTP-TLAs", "iPsecTLA": "IPsec-TLA", "transfertype": "transfer-Type",
    "OneX": "-OneX-", "GERANto": "GERAN-To-", "UTRANto": "UTRAN-To-", "IDfor": "ID-For-", "broadcast5GSTAI": "broadcast-5GS-TAI",
    "fiveGSTAC": "five-GS-TAC", "SNlength": "SN-length-", "IPsec": "Ipsec", "UEsubscription": "UE-Subscription",
    "MMECapacity": "MME-Capacity", "referenceat": "reference-At-",
}
_SORTED = sorted(_WORDS, key=len, reverse=True)
_CAMEL = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*|[A-Z]|[0-9]+")


def _word(name: str, start: int, first: bool) -> int:
    """The end of the word that begins at ``start``."""
    for word in _SORTED:
        if name.startswith(word, start) or (first and name.startswith(word[0].lower() + word[1:], start)):
            return start + len(word)
    match = _CAMEL.match(name, start)
    assert match is not None, f"{name} has a character that no ASN.1 name has"
    return match.end()


def field_name(name: str) -> str:
    """The Python name of a component or of an information element's id constant."""
    for glued, separate in _RESPELLED.items():
        name = name.replace(glued, separate)
    words: list[str] = []
    position = 0
    while position < len(name):
        if name[position] in "-_":
            position += 1
            continue
        end = _word(name, position, position == 0 or name[position - 1] in "-_")
        words.append(name[position:end].replace("-", "_").lower())
        position = end
    return "_".join(words)


def class_name(name: str) -> str:
    """The Python name of a type: ``E-RABToBeSetupItemCtxtSUReq`` is ``ERABToBeSetupItemCtxtSUReq``."""
    return name.replace("-", "")
