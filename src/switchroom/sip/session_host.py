"""What a session needs of the user agent core around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .client_request import ClientRequest
    from .headers import Address
    from .identifiers import Identifiers
    from .invite_dialog import InviteDialog
    from .message import Request, Response
    from .orders import Order
    from .session import Session
    from .session_client import ClientSession
    from .session_timer import SessionTimerSettings
    from .timers import TimerQueue, TimerValues
    from .transaction import ServerTransaction


class SessionHost(Protocol):
    """What a session needs of the user agent core around it."""

    @property
    def clocks(self) -> TimerQueue:
        """The queue of all clocks of the user agent."""
        ...

    @property
    def timer_values(self) -> TimerValues:
        """T1, T2, T4."""
        ...

    @property
    def session_timer(self) -> SessionTimerSettings | None:
        """What to ask for and grant of session timers; None: this user agent has none."""
        ...

    @property
    def modification_wait(self) -> float:
        """How long the application may think about a change that the peer asks for."""
        ...

    @property
    def max_early_dialogs(self) -> int:
        """How many branches of one INVITE are kept track of."""
        ...

    @property
    def identifiers(self) -> Identifiers:
        """The source of tags and of random fractions."""
        ...

    @property
    def contact(self) -> Address:
        """The Contact of this user agent."""
        ...

    def capabilities(self) -> list[tuple[str, str]]:
        """Allow, Supported and the like, for messages that set up or change a session."""
        ...

    def emit(self, event: object) -> None:
        """Tell the application."""
        ...

    def order(self, order: Order) -> None:
        """Tell the driver."""
        ...

    def start(self, handle: ClientRequest, now: float) -> None:
        """Send a request and see it through challenges."""
        ...

    def respond_to(
        self,
        transaction: ServerTransaction,
        request: Request,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Answer a request without further ado."""
        ...

    def remember(self, session: Session, leg: InviteDialog) -> None:
        """Requests within the dialog of *leg* belong to *session* from now on."""
        ...

    def forget(self, leg: InviteDialog) -> None:
        """The dialog of *leg* is over."""
        ...

    def watch(self, transaction: ServerTransaction, session: Session) -> None:
        """Tell *session* when the peer cancels the transaction, or it cannot answer."""
        ...

    def unwatch(self, transaction: ServerTransaction) -> None:
        """The transaction has its final response."""
        ...

    def accepts_branch(self, session: ClientSession, response: Response) -> bool:
        """Whether the caller takes this 2xx, when it has taken none yet."""
        ...

    def session_ended(self, session: Session) -> None:
        """The session was told as ended."""
        ...
