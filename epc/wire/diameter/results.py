"""Result-Code and Experimental-Result-Code values, and the error of a message that has to be answered with one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.wire.diameter.avp import Avp
    from epc.wire.diameter.codec import Header


class ResultCode(enum.IntEnum):
    """Result-Code AVP values (RFC 6733 clause 7.1; RFC 8506 clause 9 for credit control)."""

    DIAMETER_MULTI_ROUND_AUTH = 1001
    DIAMETER_SUCCESS = 2001
    DIAMETER_LIMITED_SUCCESS = 2002
    DIAMETER_COMMAND_UNSUPPORTED = 3001
    DIAMETER_UNABLE_TO_DELIVER = 3002
    DIAMETER_REALM_NOT_SERVED = 3003
    DIAMETER_TOO_BUSY = 3004
    DIAMETER_LOOP_DETECTED = 3005
    DIAMETER_REDIRECT_INDICATION = 3006
    DIAMETER_APPLICATION_UNSUPPORTED = 3007
    DIAMETER_INVALID_HDR_BITS = 3008
    DIAMETER_INVALID_AVP_BITS = 3009
    DIAMETER_UNKNOWN_PEER = 3010
    DIAMETER_AUTHENTICATION_REJECTED = 4001
    DIAMETER_OUT_OF_SPACE = 4002
    ELECTION_LOST = 4003
    DIAMETER_END_USER_SERVICE_DENIED = 4010
    DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE = 4011
    DIAMETER_CREDIT_LIMIT_REACHED = 4012
    DIAMETER_AVP_UNSUPPORTED = 5001
    DIAMETER_UNKNOWN_SESSION_ID = 5002
    DIAMETER_AUTHORIZATION_REJECTED = 5003
    DIAMETER_INVALID_AVP_VALUE = 5004
    DIAMETER_MISSING_AVP = 5005
    DIAMETER_RESOURCES_EXCEEDED = 5006
    DIAMETER_CONTRADICTING_AVPS = 5007
    DIAMETER_AVP_NOT_ALLOWED = 5008
    DIAMETER_AVP_OCCURS_TOO_MANY_TIMES = 5009
    DIAMETER_NO_COMMON_APPLICATION = 5010
    DIAMETER_UNSUPPORTED_VERSION = 5011
    DIAMETER_UNABLE_TO_COMPLY = 5012
    DIAMETER_INVALID_BIT_IN_HEADER = 5013
    DIAMETER_INVALID_AVP_LENGTH = 5014
    DIAMETER_INVALID_MESSAGE_LENGTH = 5015
    DIAMETER_INVALID_AVP_BIT_COMBO = 5016
    DIAMETER_NO_COMMON_SECURITY = 5017
    DIAMETER_USER_UNKNOWN = 5030
    DIAMETER_RATING_FAILED = 5031


class ExperimentalResultCode(enum.IntEnum):
    """Experimental-Result-Code AVP values of vendor 3GPP (TS 29.272 clause 7.4, TS 29.212 clause 5.5, ...): no kin of the base codes."""

    DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE = 4181     # S6a
    DIAMETER_ERROR_CAMEL_SUBSCRIPTION_PRESENT = 4182    # S6a
    DIAMETER_PCC_BEARER_EVENT = 4141                    # Gx
    DIAMETER_AN_GW_FAILED = 4143                        # Gx
    DIAMETER_PENDING_TRANSACTION = 4144                 # Gx
    DIAMETER_ERROR_USER_UNKNOWN = 5001                  # S6a
    DIAMETER_ERROR_ROAMING_NOT_ALLOWED = 5004           # S6a
    DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION = 5420      # S6a
    DIAMETER_ERROR_RAT_NOT_ALLOWED = 5421               # S6a
    DIAMETER_ERROR_EQUIPMENT_UNKNOWN = 5422             # S13
    DIAMETER_ERROR_UNKNOWN_SERVING_NODE = 5423          # S6a
    DIAMETER_ERROR_INITIAL_PARAMETERS = 5140            # Gx
    DIAMETER_ERROR_TRIGGER_EVENT = 5141                 # Gx
    DIAMETER_PCC_RULE_EVENT = 5142                      # Gx
    DIAMETER_ERROR_BEARER_NOT_AUTHORIZED = 5143         # Gx
    DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED = 5144  # Gx
    DIAMETER_ERROR_CONFLICTING_REQUEST = 5147           # Gx
    DIAMETER_ADC_RULE_EVENT = 5148                      # Gx
    DIAMETER_ERROR_NBIFOM_NOT_AUTHORIZED = 5149         # Gx
    REQUESTED_SERVICE_TEMPORARILY_NOT_AUTHORIZED = 4261     # Rx: TS 29.214 clause 5.5
    INVALID_SERVICE_INFORMATION = 5061                  # Rx
    FILTER_RESTRICTIONS = 5062                          # Rx
    REQUESTED_SERVICE_NOT_AUTHORIZED = 5063             # Rx
    DUPLICATED_AF_SESSION = 5064                        # Rx
    IP_CAN_SESSION_NOT_AVAILABLE = 5065                 # Rx
    UNAUTHORIZED_NON_EMERGENCY_SESSION = 5066           # Rx
    UNAUTHORIZED_SPONSORED_DATA_CONNECTIVITY = 5067     # Rx
    TEMPORARY_NETWORK_FAILURE = 5068                    # Rx
    DIAMETER_ERROR_SUBSESSION = 5470                    # S9: TS 29.215 clause 5.6
    DIAMETER_ERROR_ONGOING_SESSION_ESTABLISHMENT = 5471     # S9


class DiameterError(WireError):
    """A message that breaks the rules, and the Result-Code that says so.

    ``header`` and ``session_id`` are those of the message, where they could be read: they are what an answer needs.
    ``failed_avp`` goes into the answer's Failed-AVP (RFC 6733 clause 7.5).
    """

    def __init__(self, reason: str, result_code: ResultCode, *, offset: int = 0, ie: str = "", failed_avp: Avp | None = None) -> None:
        super().__init__(reason, offset=offset, ie=ie)
        self.result_code = result_code
        self.failed_avp = failed_avp
        self.header: Header | None = None
        self.session_id: str | None = None

    @property
    def is_answerable(self) -> bool:
        """Only a request whose header could be read is answered."""
        return self.header is not None and self.header.is_request
