"""The states of a session at either end, and what leads from one to the next (RFC 3261 §13 to §15)."""

from __future__ import annotations

from typing import Final

INVITING: Final = 0
"""Caller: no final response yet."""
CANCELLING: Final = 1
"""Caller: gave up, and waits for what becomes of the INVITE (§9.1)."""
INVITED: Final = 2
"""Called: no final response sent yet."""
ANSWERED: Final = 3
"""Called: 2xx sent, its ACK not seen yet."""
CONFIRMED: Final = 4
ENDED: Final = 5
"""Told as ended.  A BYE, or forgotten branches of a fork, may still be under way."""
STATE_NAMES: Final = ("inviting", "cancelling", "invited", "answered", "confirmed", "ended")

IN_SUCCESS: Final = 0
"""Caller: a 2xx that is taken."""
IN_FAILURE: Final = 1
"""Caller: a final non-2xx response, or none for good."""
DO_CANCEL: Final = 2
DO_ANSWER: Final = 3
DO_REJECT: Final = 4
IN_ACK: Final = 5
NO_ACK: Final = 6
DO_HANG_UP: Final = 7
IN_BYE: Final = 8
LOST: Final = 9
"""481 or 408 within the dialog, or the session timer ran out."""
INPUT_NAMES: Final = (
    "2xx", "failure", "cancel", "answer", "reject", "ACK", "no ACK", "hang up", "BYE", "lost"
)  # fmt: skip

TABLE: Final[dict[tuple[int, int], int]] = {
    (INVITING, IN_SUCCESS): CONFIRMED,  # §13.2.2.4
    (INVITING, IN_FAILURE): ENDED,  # §13.2.2.2, §13.2.2.3
    (INVITING, DO_CANCEL): CANCELLING,  # §9.1
    (INVITING, IN_BYE): ENDED,  # the last early dialog hung up
    (INVITING, LOST): INVITING,  # an early dialog's request failed; the INVITE's own end decides
    (CANCELLING, IN_SUCCESS): ENDED,  # §15: the 2xx crossed the CANCEL: ACK, then BYE
    (CANCELLING, IN_FAILURE): ENDED,
    (CANCELLING, DO_CANCEL): CANCELLING,
    (CANCELLING, IN_BYE): ENDED,
    (CANCELLING, LOST): CANCELLING,
    (INVITED, DO_ANSWER): ANSWERED,  # §13.3.1.4
    (INVITED, DO_REJECT): ENDED,  # §13.3.1.2, §13.3.1.3
    (INVITED, IN_BYE): ENDED,  # §15.1.2: the caller's BYE on the early dialog
    (INVITED, LOST): INVITED,
    (ANSWERED, IN_ACK): CONFIRMED,
    (ANSWERED, NO_ACK): ENDED,  # §13.3.1.4: BYE
    (ANSWERED, DO_HANG_UP): ENDED,  # §15: the BYE waits for the ACK
    (ANSWERED, IN_BYE): ENDED,
    (ANSWERED, LOST): ENDED,
    (CONFIRMED, IN_SUCCESS): CONFIRMED,  # another branch: ACK and BYE there
    (CONFIRMED, IN_FAILURE): CONFIRMED,
    (CONFIRMED, IN_ACK): CONFIRMED,
    (CONFIRMED, NO_ACK): ENDED,  # §14.2
    (CONFIRMED, DO_HANG_UP): ENDED,  # §15.1.1
    (CONFIRMED, IN_BYE): ENDED,  # §15.1.2
    (CONFIRMED, LOST): ENDED,  # §12.2.1.2, RFC 4028 §10
    (ENDED, IN_SUCCESS): ENDED,
    (ENDED, IN_FAILURE): ENDED,
    (ENDED, IN_ACK): ENDED,
    (ENDED, NO_ACK): ENDED,
    (ENDED, IN_BYE): ENDED,  # BYE crossed BYE
    (ENDED, LOST): ENDED,
}
"""A pair that is not here is a local call in the wrong state: LocalProtocolError."""
