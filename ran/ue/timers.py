"""The UE's NAS timers: TS 24.301 tables 10.2.1 (EMM) and 10.3.1 (ESM), defaults in seconds; ``retries`` where the UE itself repeats."""

from __future__ import annotations

from epc.procedure import Timer

# EMM
T3346 = Timer("T3346", 15 * 60.0)       # congestion: no new attempt before it is over; the network chooses the value
T3402 = Timer("T3402", 12 * 60.0)       # after the fifth failed attempt; the network may choose another value
T3410 = Timer("T3410", 15.0)            # ATTACH REQUEST sent
T3411 = Timer("T3411", 10.0)            # between two attempts
T3412 = Timer("T3412", 54 * 60.0)       # periodic tracking area update; the network chooses the value
T3416 = Timer("T3416", 30.0)            # RAND and RES are kept
T3417 = Timer("T3417", 5.0)             # SERVICE REQUEST sent
T3418 = Timer("T3418", 20.0)            # AUTHENTICATION FAILURE #20 or #26 sent
T3420 = Timer("T3420", 15.0)            # AUTHENTICATION FAILURE #21 sent
T3421 = Timer("T3421", 15.0, retries=4)     # DETACH REQUEST sent
T3430 = Timer("T3430", 15.0)            # TRACKING AREA UPDATE REQUEST sent
T3440 = Timer("T3440", 10.0)            # waiting for the network to release the NAS signalling connection
SWITCH_OFF = Timer("switch-off", 5.0)   # how long a DETACH REQUEST "switch off" may take to leave: clause 5.5.2.2.1

# ESM
T3480 = Timer("T3480", 8.0, retries=4)      # BEARER RESOURCE ALLOCATION REQUEST sent
T3481 = Timer("T3481", 8.0, retries=4)      # BEARER RESOURCE MODIFICATION REQUEST sent
T3482 = Timer("T3482", 8.0, retries=4)      # PDN CONNECTIVITY REQUEST sent
T3492 = Timer("T3492", 6.0, retries=4)      # PDN DISCONNECT REQUEST sent

MAXIMUM_ATTEMPTS = 5    # of attach and tracking area update: TS 24.301 clauses 5.5.1.2.6 and 5.5.3.2.6
