"""Numbers of PFCP that have a name: message types, causes, flags (TS 29.244 Release 15, with flags of later releases known by name)."""

from __future__ import annotations

from enum import FlagBoundary, IntEnum, IntFlag


class MessageType(IntEnum):
    """TS 29.244 table 7.3-1."""

    HEARTBEAT_REQUEST = 1
    HEARTBEAT_RESPONSE = 2
    PFD_MANAGEMENT_REQUEST = 3
    PFD_MANAGEMENT_RESPONSE = 4
    ASSOCIATION_SETUP_REQUEST = 5
    ASSOCIATION_SETUP_RESPONSE = 6
    ASSOCIATION_UPDATE_REQUEST = 7
    ASSOCIATION_UPDATE_RESPONSE = 8
    ASSOCIATION_RELEASE_REQUEST = 9
    ASSOCIATION_RELEASE_RESPONSE = 10
    VERSION_NOT_SUPPORTED_RESPONSE = 11
    NODE_REPORT_REQUEST = 12
    NODE_REPORT_RESPONSE = 13
    SESSION_SET_DELETION_REQUEST = 14
    SESSION_SET_DELETION_RESPONSE = 15
    SESSION_ESTABLISHMENT_REQUEST = 50
    SESSION_ESTABLISHMENT_RESPONSE = 51
    SESSION_MODIFICATION_REQUEST = 52
    SESSION_MODIFICATION_RESPONSE = 53
    SESSION_DELETION_REQUEST = 54
    SESSION_DELETION_RESPONSE = 55
    SESSION_REPORT_REQUEST = 56
    SESSION_REPORT_RESPONSE = 57


REPLY_TO: dict[int, MessageType] = {
    request: MessageType(request + 1) for request in MessageType if request.name.endswith("_REQUEST")
}
"""The response of each request: it has the next number."""


class CauseValue(IntEnum):
    """TS 29.244 clause 8.2.1."""

    REQUEST_ACCEPTED = 1
    MORE_USAGE_REPORT_TO_SEND = 2
    REQUEST_REJECTED = 64
    SESSION_CONTEXT_NOT_FOUND = 65
    MANDATORY_IE_MISSING = 66
    CONDITIONAL_IE_MISSING = 67
    INVALID_LENGTH = 68
    MANDATORY_IE_INCORRECT = 69
    INVALID_FORWARDING_POLICY = 70
    INVALID_F_TEID_ALLOCATION_OPTION = 71
    NO_ESTABLISHED_PFCP_ASSOCIATION = 72
    RULE_CREATION_OR_MODIFICATION_FAILURE = 73
    PFCP_ENTITY_IN_CONGESTION = 74
    NO_RESOURCES_AVAILABLE = 75
    SERVICE_NOT_SUPPORTED = 76
    SYSTEM_FAILURE = 77
    REDIRECTION_REQUESTED = 78


class SourceInterface(IntEnum):
    """TS 29.244 clause 8.2.2, and Destination Interface of clause 8.2.24."""

    ACCESS = 0
    CORE = 1
    SGI_LAN = 2
    CP_FUNCTION = 3
    LI_FUNCTION = 4         # as destination only


class GateValue(IntEnum):
    """TS 29.244 clause 8.2.7."""

    OPEN = 0
    CLOSED = 1


class PdnType(IntEnum):
    """TS 29.244 clause 8.2.79."""

    IPV4 = 1
    IPV6 = 2
    IPV4V6 = 3
    NON_IP = 4
    ETHERNET = 5


class RuleType(IntEnum):
    """What a Failed Rule ID names (TS 29.244 clause 8.2.80)."""

    PDR = 0
    FAR = 1
    QER = 2
    URR = 3
    BAR = 4


class RedirectAddressType(IntEnum):
    """TS 29.244 table 8.2.20-1."""

    IPV4 = 0
    IPV6 = 1
    URL = 2
    SIP_URI = 3


class OuterHeaderRemovalDescription(IntEnum):
    """TS 29.244 clause 8.2.64."""

    GTP_U_UDP_IPV4 = 0
    GTP_U_UDP_IPV6 = 1
    UDP_IPV4 = 2
    UDP_IPV6 = 3
    IPV4 = 4
    IPV6 = 5
    GTP_U_UDP_IP = 6


class OuterHeader(IntFlag, boundary=FlagBoundary.KEEP):
    """Outer Header Creation Description, the first octet being the high one (TS 29.244 clause 8.2.56)."""

    GTP_U_UDP_IPV4 = 0x0100
    GTP_U_UDP_IPV6 = 0x0200
    UDP_IPV4 = 0x0400
    UDP_IPV6 = 0x0800


class ApplyAction(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.26."""

    DROP = 1
    FORW = 2
    BUFF = 4
    NOCP = 8
    DUPL = 16


class ReportType(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.21."""

    DLDR = 1        # downlink data report
    USAR = 2        # usage report
    ERIR = 4        # error indication report
    UPIR = 8        # user plane inactivity report


class NodeReportType(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.69."""

    UPFR = 1        # user plane path failure report
    UPRR = 2        # user plane path recovery report


class MeasurementMethod(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.40."""

    DURAT = 1
    VOLUM = 2
    EVENT = 4


class MeasurementInformation(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.68."""

    MBQE = 1        # measure before QoS enforcement
    INAM = 2        # inactive measurement
    RADI = 4        # reduced application detection information
    ISTM = 8        # immediate start time metering


class ReportingTriggers(IntFlag, boundary=FlagBoundary.KEEP):
    """When a URR makes a report; the first octet is the low one (TS 29.244 clause 8.2.19)."""

    PERIO = 0x01
    VOLTH = 0x02
    TIMTH = 0x04
    QUHTI = 0x08
    START = 0x10
    STOPT = 0x20
    DROTH = 0x40
    LIUSA = 0x80
    VOLQU = 0x0100
    TIMQU = 0x0200
    ENVCL = 0x0400
    MACAR = 0x0800


class UsageReportTrigger(IntFlag, boundary=FlagBoundary.KEEP):
    """What made a URR report; the first octet is the low one (TS 29.244 clause 8.2.41)."""

    PERIO = 0x01
    VOLTH = 0x02
    TIMTH = 0x04
    QUHTI = 0x08
    START = 0x10
    STOPT = 0x20
    DROTH = 0x40
    IMMER = 0x80    # asked for
    VOLQU = 0x0100
    TIMQU = 0x0200
    LIUSA = 0x0400
    TERMR = 0x0800  # the session, or the URR, ends
    MONIT = 0x1000
    ENVCL = 0x2000
    MACAR = 0x4000


class UsageInformation(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.60."""

    BEF = 1
    AFT = 2
    UAE = 4
    UBE = 8


class SmReqFlags(IntFlag, boundary=FlagBoundary.KEEP):
    """PFCPSMReq-Flags (TS 29.244 clause 8.2.32)."""

    DROBU = 1       # drop buffered packets
    SNDEM = 2       # send End Marker packets
    QAURR = 4       # query all URRs


class SrRspFlags(IntFlag, boundary=FlagBoundary.KEEP):
    """PFCPSRRsp-Flags (TS 29.244 clause 8.2.33)."""

    DROBU = 1


class AssociationReleaseRequestFlags(IntFlag, boundary=FlagBoundary.KEEP):
    """PFCP Association Release Request, the element (TS 29.244 clause 8.2.77)."""

    SARR = 1        # the UP function asks to release the association


class OciFlags(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.76."""

    AOCI = 1


class UpFunctionFeatures(IntFlag, boundary=FlagBoundary.KEEP):
    """The first octet is the low one (TS 29.244 clause 8.2.25)."""

    BUCP = 0x0001   # downlink buffering in the CP function
    DDND = 0x0002   # Downlink Data Notification Delay
    DLBD = 0x0004   # DL Buffering Duration
    TRST = 0x0008   # traffic steering
    FTUP = 0x0010   # F-TEID allocation in the UP function
    PFDM = 0x0020   # PFD management
    HEEU = 0x0040   # header enrichment of uplink traffic
    TREU = 0x0080   # traffic redirection in the UP function
    EMPU = 0x0100   # End Marker packets made in the UP function
    PDIU = 0x0200   # PDI optimised signalling
    UDBC = 0x0400   # UL/DL buffering control
    QUOAC = 0x0800  # quota action
    TRACE = 0x1000
    FRRT = 0x2000   # framed routing
    PFDE = 0x4000
    EPFAR = 0x8000  # enhanced PFCP association release


class CpFunctionFeatures(IntFlag, boundary=FlagBoundary.KEEP):
    """TS 29.244 clause 8.2.58."""

    LOAD = 1
    OVRL = 2
