"""Event and Subscription-State (RFC 6665 §8.2)."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ParseError
from ..grammar import NO_PARAMS, Params, checked_token, excerpt, is_token, split_params
from .numbers import parse_seconds
from .tokens import split_value


class Event(NamedTuple):
    """An event package with its template packages ("presence", "presence.winfo"), compared with regard to case."""

    package: str
    params: Params = NO_PARAMS

    @property
    def id(self) -> str | None:
        """What tells apart several subscriptions to one package in one dialog."""
        return self.params.get("id")

    def __str__(self) -> str:
        return f"{checked_token(self.package)}{self.params}"


class SubscriptionState(NamedTuple):
    """The state of a subscription: "active", "pending", "terminated" or another token, in lower case."""

    state: str
    params: Params = NO_PARAMS

    @property
    def expires(self) -> int | None:
        """How many seconds are left, None when that is not said or malformed."""
        return _seconds(self.params.get("expires"))

    @property
    def retry_after(self) -> int | None:
        """How many seconds to wait with a new subscription, None when that is not said or malformed."""
        return _seconds(self.params.get("retry-after"))

    @property
    def reason(self) -> str | None:
        """Why it ended: "deactivated", "timeout", "noresource" and so on, in lower case (§4.2.2)."""
        value = self.params.get("reason")
        return value.lower() if value else None

    def __str__(self) -> str:
        return f"{checked_token(self.state)}{self.params}"


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_seconds(text)
    except ParseError:
        return None


def parse_event(text: str) -> Event:
    """Parse `event-type *(SEMI event-param)`."""
    package, params = split_params(text)
    if not is_token(package) or ".." in package or package[0] == "." or package[-1] == ".":
        raise ParseError(f"not an event package: {excerpt(text)}")
    return Event(package, params)


def parse_subscription_state(text: str) -> SubscriptionState:
    """Parse `substate-value *(SEMI subexp-params)`."""
    state, params = split_value(text)
    return SubscriptionState(state.lower(), params)
