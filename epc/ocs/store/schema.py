"""The tables, as numbered migrations, and the statements.

One dialect for every database: named parameters, standard types, no upsert and no RETURNING. Money is a whole number of millionths of the
currency's unit, moments are milliseconds since 1970, and what a client left out (a rating group, a service identifier) is -1.
"""

from __future__ import annotations

from epc.node.database import Schema

SCHEMA = Schema("schema_version", (
    (1, (
        """CREATE TABLE account (
            imsi VARCHAR(15) NOT NULL PRIMARY KEY,
            balance BIGINT NOT NULL,
            blocked SMALLINT NOT NULL,
            entries BIGINT NOT NULL
        )""",
        """CREATE TABLE ledger (
            imsi VARCHAR(15) NOT NULL REFERENCES account (imsi),
            number BIGINT NOT NULL,
            at_ms BIGINT NOT NULL,
            kind VARCHAR(8) NOT NULL,
            amount BIGINT NOT NULL,
            balance BIGINT NOT NULL,
            session_id VARCHAR(255),
            request_number BIGINT,
            rating_group BIGINT,
            service_identifier BIGINT,
            octets BIGINT,
            seconds BIGINT,
            rate VARCHAR(100),
            visited_plmn VARCHAR(6),
            reference VARCHAR(100),
            PRIMARY KEY (imsi, number),
            UNIQUE (imsi, reference)
        )""",
        """CREATE TABLE credit_session (
            session_id VARCHAR(255) NOT NULL PRIMARY KEY,
            imsi VARCHAR(15) NOT NULL REFERENCES account (imsi),
            apn VARCHAR(100) NOT NULL,
            visited_plmn VARCHAR(6) NOT NULL,
            peer_host VARCHAR(255) NOT NULL,
            peer_realm VARCHAR(255) NOT NULL,
            origin_state_id BIGINT,
            opened_ms BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL,
            closed_ms BIGINT
        )""",
        "CREATE INDEX credit_session_imsi ON credit_session (imsi)",
        """CREATE TABLE service (
            session_id VARCHAR(255) NOT NULL REFERENCES credit_session (session_id),
            imsi VARCHAR(15) NOT NULL REFERENCES account (imsi),
            rating_group BIGINT NOT NULL,
            service_identifier BIGINT NOT NULL,
            rate VARCHAR(100) NOT NULL,
            unit VARCHAR(7) NOT NULL,
            price BIGINT NOT NULL,
            granted BIGINT NOT NULL,
            reserved BIGINT NOT NULL,
            fraction BIGINT NOT NULL,
            exhausted SMALLINT NOT NULL,
            PRIMARY KEY (session_id, rating_group, service_identifier)
        )""",
        "CREATE INDEX service_imsi ON service (imsi)",
        """CREATE TABLE answered (
            session_id VARCHAR(255) NOT NULL REFERENCES credit_session (session_id),
            request_number BIGINT NOT NULL,
            answer TEXT NOT NULL,
            PRIMARY KEY (session_id, request_number)
        )""",
    )),
))

# An update that changes nothing locks the row until the transaction ends, on every database: whatever concerns one account is done in turn.
LOCK_ACCOUNT = "UPDATE account SET entries = entries WHERE imsi = :imsi"
SELECT_ACCOUNT = """SELECT balance, blocked, entries, (SELECT COALESCE(SUM(reserved), 0) FROM service WHERE service.imsi = account.imsi)
    FROM account WHERE imsi = :imsi"""
INSERT_ACCOUNT = "INSERT INTO account (imsi, balance, blocked, entries) VALUES (:imsi, 0, 0, 0)"
BLOCK_ACCOUNT = "UPDATE account SET blocked = :blocked WHERE imsi = :imsi"
UPDATE_ACCOUNT = "UPDATE account SET balance = :balance, entries = :number WHERE imsi = :imsi"
COUNT_ACCOUNTS = "SELECT COUNT(*) FROM account"

LEDGER_COLUMNS = ("number", "at_ms", "kind", "amount", "balance", "session_id", "request_number", "rating_group", "service_identifier", "octets",
                  "seconds", "rate", "visited_plmn", "reference")
INSERT_ENTRY = f"INSERT INTO ledger (imsi, {', '.join(LEDGER_COLUMNS)}) VALUES (:imsi, {', '.join(f':{name}' for name in LEDGER_COLUMNS)})"
SELECT_ENTRIES = f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger WHERE imsi = :imsi AND number > :after ORDER BY number"
FIND_REFERENCE = "SELECT number FROM ledger WHERE imsi = :imsi AND reference = :reference"
AUDIT = """SELECT account.imsi, account.balance, COALESCE(SUM(ledger.amount), 0), account.entries, COUNT(ledger.number)
    FROM account LEFT JOIN ledger ON ledger.imsi = account.imsi GROUP BY account.imsi, account.balance, account.entries
    HAVING account.balance <> COALESCE(SUM(ledger.amount), 0) OR account.entries <> COUNT(ledger.number)"""

SESSION_COLUMNS = ("session_id", "imsi", "apn", "visited_plmn", "peer_host", "peer_realm", "origin_state_id", "opened_ms", "expires_ms", "closed_ms")
_SELECT_SESSION = f"SELECT {', '.join(SESSION_COLUMNS)} FROM credit_session"
SELECT_SESSION = f"{_SELECT_SESSION} WHERE session_id = :session_id"
SELECT_OPEN_SESSIONS = f"{_SELECT_SESSION} WHERE closed_ms IS NULL ORDER BY opened_ms, session_id"
SELECT_OPEN_SESSIONS_OF = f"{_SELECT_SESSION} WHERE closed_ms IS NULL AND imsi = :imsi ORDER BY opened_ms, session_id"
SELECT_EXPIRED_SESSIONS = f"{_SELECT_SESSION} WHERE closed_ms IS NULL AND expires_ms <= :now_ms"
SELECT_LOST_SESSIONS = f"{_SELECT_SESSION} WHERE closed_ms IS NULL AND peer_host = :peer_host AND origin_state_id < :origin_state_id"
SELECT_EXHAUSTED_SESSIONS = f"""{_SELECT_SESSION} WHERE closed_ms IS NULL AND imsi = :imsi AND EXISTS
    (SELECT 1 FROM service WHERE service.session_id = credit_session.session_id AND exhausted = 1) ORDER BY opened_ms, session_id"""
INSERT_SESSION = f"INSERT INTO credit_session ({', '.join(SESSION_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in SESSION_COLUMNS)})"
UPDATE_SESSION = """UPDATE credit_session SET visited_plmn = :visited_plmn, expires_ms = :expires_ms, closed_ms = :closed_ms
    WHERE session_id = :session_id"""
COUNT_OPEN_SESSIONS = "SELECT COUNT(*) FROM credit_session WHERE closed_ms IS NULL"

SERVICE_COLUMNS = ("rating_group", "service_identifier", "rate", "unit", "price", "granted", "reserved", "fraction", "exhausted")
SELECT_SERVICES = f"SELECT {', '.join(SERVICE_COLUMNS)} FROM service WHERE session_id = :session_id ORDER BY rating_group, service_identifier"
UPDATE_SERVICE = f"""UPDATE service SET {', '.join(f'{name} = :{name}' for name in SERVICE_COLUMNS[2:])}
    WHERE session_id = :session_id AND rating_group = :rating_group AND service_identifier = :service_identifier"""
INSERT_SERVICE = f"""INSERT INTO service (session_id, imsi, {', '.join(SERVICE_COLUMNS)})
    VALUES (:session_id, :imsi, {', '.join(f':{name}' for name in SERVICE_COLUMNS)})"""
RELEASE_SERVICES = "UPDATE service SET reserved = 0, granted = 0, exhausted = 0 WHERE session_id = :session_id"

SELECT_ANSWER = "SELECT answer FROM answered WHERE session_id = :session_id AND request_number = :request_number"
SELECT_LAST_ANSWERED = "SELECT MAX(request_number) FROM answered WHERE session_id = :session_id"
INSERT_ANSWER = "INSERT INTO answered (session_id, request_number, answer) VALUES (:session_id, :request_number, :answer)"
DELETE_OLD_ANSWERS = "DELETE FROM answered WHERE session_id = :session_id AND request_number <= :oldest"

_FORGET = "DELETE FROM {} WHERE session_id IN (SELECT session_id FROM credit_session WHERE closed_ms <= :before_ms)"
FORGET_CLOSED = (_FORGET.format("answered"), _FORGET.format("service"), "DELETE FROM credit_session WHERE closed_ms <= :before_ms")
